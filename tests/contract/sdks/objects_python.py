"""Runs beside oss2: the local cloud has no object storage, and says so in a form that the SDK reads."""

import oss2
from checks import fails, outcomes, report, settings

BUCKET = oss2.Bucket(oss2.Auth(settings["id"], settings["secret"]), settings["url"], "bucket", is_cname=True)

report(
    outcomes(
        "oss2",
        {
            "object_exists": lambda: fails(lambda: BUCKET.object_exists("a"), "no service oss"),
            "get_object": lambda: fails(lambda: BUCKET.get_object("a"), "no service oss"),
            "put_object": lambda: fails(lambda: BUCKET.put_object("a", b"x"), "no service oss"),
            "list_objects": lambda: fails(lambda: BUCKET.list_objects(), "no service oss"),
        },
    )
)
