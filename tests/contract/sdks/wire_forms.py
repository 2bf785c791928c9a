"""Requests as the SDKs for Go and PHP put them on the wire, written by hand from what was observed of them.

Neither language is at hand where the tests run. What matters is kept as it was seen: the spelling and the order of
headers, which bodies have a declaration and a namespace, and what is signed.
"""

import base64
import hashlib
import hmac
import re
import socket
from datetime import datetime, timezone
from email.utils import formatdate
from urllib.parse import quote

from alilocal.tablestore.proto import Message

NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"


class Peer:
    """A connection to the local cloud; each request is written as bytes."""

    def __init__(self, server):
        self.server = server
        self.host = f"127.0.0.1:{server.port}"
        self.key = (server.cloud.access_key_id, server.cloud.access_key_secret)

    def exchange(self, head, body=b""):
        """Send a request, and return the status and the body of its answer."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as connection:
            connection.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        first, _, rest = answer.partition(b"\r\n")
        return int(first.split()[1]), rest.partition(b"\r\n\r\n")[2]

    def signed(self, *lines):
        digest = hmac.new(self.key[1].encode(), "\n".join(lines).encode(), hashlib.sha1).digest()
        return base64.b64encode(digest).decode()


def expect(answer, status, text=""):
    assert answer[0] == status, answer
    assert text.encode() in answer[1], answer
    return answer[1].decode()


def receipt(text):
    return quote(re.search("<ReceiptHandle>(.*?)</ReceiptHandle>", text)[1], safe="")


def smq_of_go(peer):
    """Return the calls of aliyun-mns-go-sdk, whose bodies have neither a declaration nor a namespace."""

    def call(method, resource, body=""):
        digest = base64.b64encode(hashlib.md5(body.encode()).hexdigest().encode()).decode()
        date = formatdate(usegmt=True)
        signature = peer.signed(
            method, digest, "application/xml", date, "x-mns-version:2015-06-06", f"/{resource}"
        )
        head = [
            f"{method} /{resource} HTTP/1.1",
            "User-Agent: aliyun-sdk-go/2.0.1(linux/-/amd64;1.22)",
            f"Host: {peer.host}",
            "Content-Type: application/xml",
            f"Content-Length: {len(body.encode())}",
            f"Authorization: MNS {peer.key[0]}:{signature}",
            f"Content-Md5: {digest}",
            f"Date: {date}",
            "X-Mns-Version: 2015-06-06",
        ]
        return peer.exchange(head, body.encode())

    queue, topic = "queues/orders", "topics/news"
    message = "<Message><MessageBody>aGk=</MessageBody><DelaySeconds>0</DelaySeconds><Priority>8</Priority></Message>"
    attributes = "<PollingWaitSeconds>0</PollingWaitSeconds><LoggingEnabled>false</LoggingEnabled>"
    subscription = (
        "<Subscription><Endpoint>acs:mns:cn-local:127:queues/orders</Endpoint>"
        "<NotifyContentFormat>SIMPLIFIED</NotifyContentFormat></Subscription>"
    )
    held = []

    def receive():
        held.append(receipt(expect(call("GET", f"{queue}/messages?waitseconds=1"), 200, "aGk=")))

    def change():
        target = f"{queue}/messages?ReceiptHandle={held.pop()}&VisibilityTimeout=60"
        held.append(receipt(expect(call("PUT", target), 200)))

    def delete_batch():
        found = expect(call("GET", f"{queue}/messages?numOfMessages=2"), 200)
        handles = re.findall("<ReceiptHandle>.*?</ReceiptHandle>", found)
        body = f"<ReceiptHandles>{''.join(handles)}</ReceiptHandles>"
        expect(call("DELETE", f"{queue}/messages", body), 204)

    return {
        "CreateQueue": lambda: expect(
            call("PUT", queue, f"<Queue><DelaySeconds>0</DelaySeconds>{attributes}</Queue>"), 201
        ),
        "GetQueueAttributes": lambda: expect(call("GET", queue), 200, "<QueueName>orders</QueueName>"),
        "SendMessage": lambda: expect(call("POST", f"{queue}/messages", message), 201, "<MessageId>"),
        "PeekMessage": lambda: expect(call("GET", f"{queue}/messages?peekonly=true"), 200, "aGk="),
        "ReceiveMessage": receive,
        "ChangeMessageVisibility": change,
        "DeleteMessage": lambda: expect(call("DELETE", f"{queue}/messages?ReceiptHandle={held.pop()}"), 204),
        "BatchSendMessage": lambda: expect(
            call("POST", f"{queue}/messages", f"<Messages>{message * 2}</Messages>"), 201, "<Messages"
        ),
        "BatchReceiveMessage, BatchDeleteMessage": delete_batch,
        "CreateTopic": lambda: expect(
            call("PUT", topic, "<Topic><LoggingEnabled>false</LoggingEnabled></Topic>"), 201
        ),
        "Subscribe with a derived endpoint": lambda: expect(
            call("PUT", f"{topic}/subscriptions/copies", subscription), 201
        ),
        "PublishMessage": lambda: expect(
            call("POST", f"{topic}/messages", "<Message><MessageBody>news</MessageBody></Message>"), 201
        ),
        "the copy": lambda: expect(call("GET", f"{queue}/messages?peekonly=true"), 200, ">news<"),
        "Unsubscribe": lambda: expect(call("DELETE", f"{topic}/subscriptions/copies"), 204),
        "DeleteQueue": lambda: expect(call("DELETE", queue), 204),
    }


def smq_of_php(peer):
    """Return the calls of aliyun-mns-php-sdk, whose bodies have a declaration, a namespace and a line's end."""

    def call(method, resource, body=""):
        date = formatdate(usegmt=True)
        signature = peer.signed(method, "", "text/xml", date, "x-mns-version:2015-06-06", f"/{resource}")
        head = [
            f"{method} /{resource} HTTP/1.1",
            f"Host: {peer.host}",
            "user-agent: aliyun-sdk-php/1.4.0(Linux/6.1/x86_64;8.2)",
            *([f"Content-Length: {len(body.encode())}"] if body else []),
            f"Date: {date}",
            "Content-Type: text/xml",
            "x-mns-version: 2015-06-06",
            f"Authorization: MNS {peer.key[0]}:{signature}",
        ]
        return peer.exchange(head, body.encode())

    def document(root, inner=""):
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>\n'

    queue, topic = "queues/orders", "topics/news"
    endpoint = "<Endpoint>acs:mns:0:127:queues/orders</Endpoint>"
    properties = (
        "<UserProperties><PropertyValue><Name>n</Name><Value>v</Value><Type>STRING</Type></PropertyValue>"
        "</UserProperties>"
    )
    body = f"<MessageBody>aGk=</MessageBody>{properties}"
    strategy = "<NotifyStrategy>BACKOFF_RETRY</NotifyStrategy><NotifyContentFormat>XML</NotifyContentFormat>"
    account = "?accountmeta=true"
    return {
        "deleteQueue of a missing queue": lambda: expect(call("DELETE", queue), 204),
        "createQueue": lambda: expect(call("PUT", queue, document("Queue")), 201),
        "setAccountAttributes": lambda: expect(
            call("PUT", account, document("Account", "<LoggingBucket>logs</LoggingBucket>")), 204
        ),
        "setAccountAttributes of nothing": lambda: expect(call("PUT", account, document("Account")), 204),
        "getAccountAttributes": lambda: expect(call("GET", account), 200, "<LoggingBucket>logs<"),
        "sendMessage with properties": lambda: expect(
            call("POST", f"{queue}/messages", document("Message", body)), 201
        ),
        "receiveMessage": lambda: expect(
            call("GET", f"{queue}/messages?waitseconds=1"), 200, "</UserProperties></Message>"
        ),
        "createTopic": lambda: expect(call("PUT", topic, document("Topic")), 201),
        "subscribe with a derived endpoint": lambda: expect(
            call("PUT", f"{topic}/subscriptions/copies", document("Subscription", endpoint + strategy)), 201
        ),
        "subscribe by mail": lambda: expect(
            call(
                "PUT",
                f"{topic}/subscriptions/mail",
                document("Subscription", "<Endpoint>mail:directmail:a@example.com</Endpoint>"),
            ),
            201,
        ),
        "publishMessage": lambda: expect(
            call("POST", f"{topic}/messages", document("Message", "<MessageBody>aGk=</MessageBody>")), 201
        ),
        "deleteTopic": lambda: expect(call("DELETE", topic), 204),
        "deleteQueue": lambda: expect(call("DELETE", queue), 204),
    }


KEY = "75000000010304010000006b05060000000301000000610a510919"
LOW = "75000000010304010000006b0501000000090a5d09e5"
HIGH = "75000000010304010000006b05010000000a0a540958"
SCHEMA = "0a0a0a015412050a016b1002"
OPTIONS = "1a0d08ffffffffffffffffff011001"
ROW = "75000000010304010000006b05060000000301000000610a51020304010000007605090000000001000000000000000a930991"


CAPACITY = "12060a0408001000"


class GoTablestore:
    """Sends requests as aliyun-tablestore-go-sdk does."""

    def __init__(self, peer):
        self._peer = peer

    def call(self, operation, body):
        """Return the message of an answer; raises AssertionError for an error."""
        data = bytes.fromhex(body)
        now = datetime.now(timezone.utc)
        own = {
            "x-ots-accesskeyid": self._peer.key[0],
            "x-ots-apiversion": "2015-12-31",
            "x-ots-contentmd5": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "x-ots-date": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
            "x-ots-instancename": "local",
        }
        lines = [f"{name}:{value}" for name, value in sorted(own.items())]
        own["x-ots-signature"] = self._peer.signed(f"/{operation}", "POST", "", *lines, "")
        head = [
            f"POST /{operation} HTTP/1.1",
            f"Host: {self._peer.host}",
            "User-Agent: aliyun-tablestore-sdk-golang/1.7.15",
            f"Content-Length: {len(data)}",
            *(f"{name.title()}: {value}" for name, value in own.items()),
            "Accept-Encoding: gzip",
        ]
        status, answer = self._peer.exchange(head, data)
        message = Message(answer)
        assert status == 200, (status, message.text(1), message.text(2))
        return message

    def refused(self, operation, body, text):
        try:
            self.call(operation, body)
        except AssertionError as exc:
            assert text in str(exc), exc
        else:
            raise AssertionError("the call succeeds")

    def check(self, operation, body, number):
        """Check that the answer has a member."""
        assert self.call(operation, body).has(number)

    def batch(self, is_atomic):
        """Write one row in a batch, whose last member the SDK always sends."""
        row = f"08011233{ROW}1a020800"
        answer = self.call("BatchWriteRow", f"0a400a0154123b{row}18{is_atomic:02x}")
        assert answer.messages(1)[0].messages(2)[0].number(1) == 1


def tablestore_of_go(peer):
    """Return the calls of aliyun-tablestore-go-sdk, which reads the details of a stream from every answer."""
    go = GoTablestore(peer)
    create = f"{SCHEMA}{CAPACITY}{OPTIONS}"
    return {
        "CreateTable": lambda: go.call("CreateTable", f"{create}2a020800"),
        "DescribeTable": lambda: go.check("DescribeTable", "0a0154", 4),
        "UpdateTable": lambda: go.check("UpdateTable", f"0a0154{CAPACITY}22020800", 3),
        "UpdateTable with a stream": lambda: go.check("UpdateTable", "0a0154220408011018", 3),
        "PutRow": lambda: go.call("PutRow", f"0a01541233{ROW}1a020800"),
        "GetRow": lambda: go.check("GetRow", f"0a0154121b{KEY}2801", 2),
        "GetRange": lambda: go.check("GetRange", f"0a0154100028013a16{LOW}4216{HIGH}", 2),
        "BatchWriteRow": lambda: go.batch(is_atomic=False),
        "BatchWriteRow, atomic": lambda: go.batch(is_atomic=True),
        "ListStream": lambda: go.refused("ListStream", "0a0154", "no records of streams"),
        "DeleteTable": lambda: go.call("DeleteTable", "0a0154"),
    }


FORMS = {
    ("aliyun-mns-go-sdk", "2.0.1"): smq_of_go,
    ("aliyun-mns-php-sdk", "1.4.0"): smq_of_php,
    ("aliyun-tablestore-go-sdk", "1.7.15"): tablestore_of_go,
}
