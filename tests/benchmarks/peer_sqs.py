"""The same three calls against moto's SQS; runs in a venv that has moto[server] and boto3.

    python peer_sqs.py MODE CALLS ROUNDS

MODE is raw (requests, in-process), sdk (boto3, in-process) or http (a socket, over moto's server). Prints a line of
JSON for each round: seconds per call.
"""

import http.client
import json
import logging
import sys
import time

HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/sqs/aws4_request, "
    "SignedHeaders=host, Signature=x",
}
BODY = "b" * 200


def timed(calls, *acts):
    """Seconds that each of `acts` takes, called `calls` times each in turns."""
    spent = [0.0] * len(acts)
    for _ in range(calls):
        carried = None
        for index, act in enumerate(acts):
            began = time.perf_counter()
            carried = act(carried)
            spent[index] += time.perf_counter() - began
    return [one / calls for one in spent]


def protocol(post):
    """Send, receive and delete as requests of SQS' JSON protocol; `post` sends an action and gives its answer."""
    url = post("CreateQueue", {"QueueName": "orders"})["QueueUrl"]
    return (
        lambda _: post("SendMessage", {"QueueUrl": url, "MessageBody": BODY}),
        lambda _: post("ReceiveMessage", {"QueueUrl": url})["Messages"][0]["ReceiptHandle"],
        lambda handle: post("DeleteMessage", {"QueueUrl": url, "ReceiptHandle": handle}),
    )


def raw():
    import requests

    session = requests.Session()

    def post(action, body):
        headers = {**HEADERS, "X-Amz-Target": f"AmazonSQS.{action}"}
        answer = session.post("https://sqs.us-east-1.amazonaws.com/", json.dumps(body), headers=headers)
        return answer.json() if answer.content else None

    return protocol(post)


def sdk():
    import boto3

    client = boto3.client("sqs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    url = client.create_queue(QueueName="orders")["QueueUrl"]
    return (
        lambda _: client.send_message(QueueUrl=url, MessageBody=BODY),
        lambda _: client.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"],
        lambda handle: client.delete_message(QueueUrl=url, ReceiptHandle=handle),
    )


def over_http():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    connection = http.client.HTTPConnection(*server.get_host_and_port())

    def post(action, body):
        headers = {**HEADERS, "X-Amz-Target": f"AmazonSQS.{action}"}
        connection.request("POST", "/", json.dumps(body), headers)
        content = connection.getresponse().read()
        return json.loads(content) if content else None

    return protocol(post)


def main():
    # What a server tells of itself must not stand between the rows.
    out, sys.stdout = sys.stdout, sys.stderr
    mode, calls, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if mode == "http":
        rows(out, over_http(), calls, rounds)
        return
    from moto import mock_aws

    with mock_aws():
        rows(out, raw() if mode == "raw" else sdk(), calls, rounds)


def rows(out, acts, calls, rounds):
    timed(20, *acts)
    for _ in range(rounds):
        sys.stdin.readline()
        out.write(json.dumps(timed(calls, *acts)) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
