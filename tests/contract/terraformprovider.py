"""A provider that Terraform can plan and apply with, and that creates nothing.

    python terraformprovider.py SCHEMAS RECORD

SCHEMAS is a JSON file with the blocks `provider`, `resources` and `data_sources`. RECORD is written as JSON Lines:
the type and the configuration of each resource that is created or changed. The first line of the output is a value
for TF_REATTACH_PROVIDERS, which makes Terraform call this process; the process ends with its standard input.

It speaks protocol 5 (https://github.com/hashicorp/terraform/blob/v1.11.4/docs/plugin-protocol/tfplugin5.9.proto) and
needs grpcio and msgpack.
"""

import json
import os
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import msgpack

SOURCE = "registry.terraform.io/aliyun/alicloud"
UNKNOWN = msgpack.ExtType(0, b"\x00")
NESTING = {"LIST": 2, "SET": 3}


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def message(*fields):
    """Encode a protobuf message of pairs (number, value): bytes, text, numbers and booleans."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def read(data):
    """Decode the fields of a protobuf message, by number; of repeated ones the last."""
    fields, at = {}, 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 2:
            length = number()
            fields[tag >> 3] = data[at : at + length]
            at += length
        else:
            fields[tag >> 3] = number()
    return fields


def dynamic(value):
    return message((1, msgpack.packb(value)))


def plain(data):
    """Return the value in a DynamicValue; what is not known yet is an ExtType."""
    return msgpack.unpackb(read(data).get(1, b"\xc0"), strict_map_key=False)


def encode_block(block):
    """Encode a Schema.Block."""
    attributes = [
        message(
            (1, name),
            (2, json.dumps(one["type"])),
            *(
                (number, 1)
                for number, flag in ((4, "required"), (5, "optional"), (6, "computed"))
                if one.get(flag)
            ),
        )
        for name, one in block.get("attributes", {}).items()
    ]
    nested = [
        message(
            (1, name),
            (2, encode_block(one["block"])),
            (3, NESTING[one.get("nesting", "LIST")]),
            (4, one.get("min", 0)),
            (5, one.get("max", 0)),
        )
        for name, one in block.get("blocks", {}).items()
    ]
    return message(*((2, one) for one in attributes), *((3, one) for one in nested))


def encode_schema(block):
    return message((2, encode_block(block)))


class Provider:
    """The calls of Terraform, by method name."""

    def __init__(self, schemas, record):
        self.schemas, self.record = schemas, record

    def GetSchema(self, _):
        def entries(blocks):
            return [message((1, name), (2, encode_schema(block))) for name, block in blocks.items()]

        return message(
            (1, encode_schema(self.schemas["provider"])),
            *((2, one) for one in entries(self.schemas["resources"])),
            *((3, one) for one in entries(self.schemas["data_sources"])),
        )

    def PrepareProviderConfig(self, request):
        return message((1, request[1]))

    def ValidateResourceTypeConfig(self, _):
        return b""

    ValidateDataSourceConfig = Configure = Stop = ValidateResourceTypeConfig

    def UpgradeResourceState(self, request):
        return message((1, dynamic(json.loads(read(request[3])[1]))))

    def ReadResource(self, request):
        return message((1, request[2]))

    def PlanResourceChange(self, request):
        proposed = plain(request[3])
        return message((1, dynamic(self._computed(request[1].decode(), proposed, UNKNOWN))), (5, 1))

    def ApplyResourceChange(self, request):
        kind, planned = request[1].decode(), plain(request[3])
        if planned is not None:
            with self.record.open("a") as file:
                file.write(json.dumps([kind, plain(request[4])]) + "\n")
            planned = self._computed(kind, planned, f"{kind}-{uuid.uuid4().hex[:6]}")
        return message((1, dynamic(planned)), (4, 1))

    def ReadDataSource(self, request):
        block = self.schemas["data_sources"][request[1].decode()]
        values = {name: one.get("value") for name, one in block["attributes"].items()}
        return message((1, dynamic({**plain(request[2]), **values})))

    def _computed(self, kind, values, filler):
        """Fill in what the service decides; a planned value stays unknown until it is applied."""
        if values is None:
            return None
        attributes = self.schemas["resources"][kind]["attributes"]
        return {
            name: filler
            if name in attributes
            and attributes[name].get("computed")
            and attributes[name]["type"] == "string"
            and (value is None or isinstance(value, msgpack.ExtType))
            else value
            for name, value in values.items()
        }


class Handler(grpc.GenericRpcHandler):
    def __init__(self, provider):
        self.provider = provider

    def service(self, call):
        service, _, method = call.method.rpartition("/")
        act = getattr(self.provider, method, None) if service == "/tfplugin5.Provider" else None
        if act is None:
            return None
        return grpc.unary_unary_rpc_method_handler(lambda data, _: act(read(data)))


def main():
    schemas, record = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([Handler(Provider(schemas, record))])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    place = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
    how = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": place}
    print(json.dumps({SOURCE: how}), flush=True)  # noqa: T201
    threading.Thread(target=lambda: (sys.stdin.read(), server.stop(None)), daemon=True).start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
