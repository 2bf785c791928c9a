"""Forms in which a service may list experiments or answer a create, beside those of the local cloud."""

import json


def change_listing(world, change):
    """Make the service answer ListHpoExperiments with `change(answer, number of the page)`."""
    handle = world.cloud.handle

    def changed(request):
        answer = handle(request)
        if request.header("x-acs-action") != "ListHpoExperiments" or b'"Experiments"' not in answer.body:
            return answer
        try:
            document = json.loads(answer.body)
        except ValueError:  # a fault has damaged it
            return answer
        number = int(dict(request.query_pairs(plus_is_space=False))["PageNumber"])
        return answer._replace(body=json.dumps(change(document, number)).encode())

    world.cloud.handle = changed


def cache_listings(world, seconds):
    """Put a cache in front of ListHpoExperiments that repeats each answer for `seconds`, whatever its headers say."""
    handle, kept = world.cloud.handle, {}

    def handle_or_repeat(request):
        if request.header("x-acs-action") != "ListHpoExperiments":
            return handle(request)
        until, answer = kept.get(request.target, (0.0, None))
        if world.clock.now() >= until:
            answer = handle(request)
            kept[request.target] = world.clock.now() + seconds, answer
        return answer

    world.cloud.handle = handle_or_repeat


def change_new_ids(world, written):
    """Make the service answer creates with the items of the list `written` as ids, one per create."""
    handle = world.cloud.handle

    def changed(request):
        answer = handle(request)
        is_created = (
            request.header("x-acs-action") == "CreateHpoExperiment" and b'"ExperimentId"' in answer.body
        )
        if not is_created or not written:
            return answer
        try:
            document = json.loads(answer.body)
        except ValueError:  # a fault has damaged it
            return answer
        return answer._replace(body=json.dumps({**document, "ExperimentId": written.pop(0)}).encode())

    world.cloud.handle = changed


def change_rows(**changes):
    """Return a change of the members of all rows that `changes` name, each by a function of its value."""
    return lambda document, _: {
        **document,
        "Experiments": [
            row | {name: change(row[name]) for name, change in changes.items() if name in row}
            for row in document["Experiments"]
        ],
    }


def leave_out_empty(document, _number):
    """Write null for an empty list, as Go does."""
    return document if document["Experiments"] else {**document, "Experiments": None}


def refuse_beyond_last(document, number):
    """Refuse a page behind the last one."""
    refusal = {"Code": "INVALID_INPUT_PARAMS", "Message": "PageNumber is out of range"}
    return document if document["Experiments"] or number == 1 else {"RequestId": "r", **refusal}


LISTINGS = {
    "capitals": change_rows(
        Tags=lambda tags: [{"Key": tag["Key"].upper(), "Value": tag["Value"].upper()} for tag in tags],
        Description=str.upper,
    ),
    "other names": change_rows(
        Tags=lambda tags: [{"TagKey": t["Key"], "TagValue": t["Value"]} for t in tags]
    ),
    "blanks around values": change_rows(
        Tags=lambda tags: [tag | {"Value": f" {tag['Value']} "} for tag in tags]
    ),
    "an object": change_rows(Tags=lambda tags: {tag["Key"]: tag["Value"] for tag in tags}),
    "null for an empty list": leave_out_empty,
    "refused pages": refuse_beyond_last,
}
