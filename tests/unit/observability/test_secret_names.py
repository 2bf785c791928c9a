"""The one list of secret names, and how secrets are found in values and texts."""

import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.observability.redaction import MASK, redact
from hpoq.observability.secret_names import find_secrets, is_secret_name, mask_text
from support.budget import sample_by_default

SECRET = (
    "secret clientSecret client-secret SECRET_KEY accessKeySecret access_key_secret accesskeysecret",
    "password PASSWORD db_password passwordHash mysql.password password2 passwd pwd MYSQL_PWD passphrase",
    "token TOKEN access_token securityToken x-acs-security-token api.token credential credentials",
    "Authorization Proxy-Authorization access_key accessKey access-key AccessKeyId accessKeyID access_id",
    "accessid access_id_2 api_key apikey X-Api-Key private_key privateKey ssh-private-key webhook",
    "webhook_url Signature OSSAccessKeyId DaccessKey ak sk sig pass DB_PASS passcode cookie Set-Cookie auth jwt otp",
    "X-Auth-Key auth_key AccountKey encryption-key master_key sharedKey signing_key aes_key",
)
HARMLESS = (
    "Name endpoint tokenizer tokens max_tokens token_size max_token pad_token ${token} ${password} key",
    "keyword url task ask risk passed passes bypass num_pass author compass role_arn region accuracy path",
)


def test_secret_names():
    """A secret's name is recognized in every spelling."""
    assert [name for name in " ".join(SECRET).split() if not is_secret_name(name)] == []


def test_harmless_names():
    """Other names are shown, those of language models' parameters among them."""
    assert [name for name in " ".join(HARMLESS).split() if is_secret_name(name)] == []


def test_the_url_of_an_alert_is_secret():
    """A DingTalk URL carries its token; other URLs are addresses."""
    assert is_secret_name("url", "monitor_config")
    assert not is_secret_name("url", "oss_config")


CANARY = "can4ry-0123"
COMMANDS = [
    "pai -name kmeans -DaccessKey=@ -Dk=3",
    "run --password @ --lr 0.1",
    "run --password=@ --lr 0.1",
    "run --db-password '@' --lr 0.1",
    'run --token "@"',
    'run "--token=@"',
    "run '--token' @",
    "run --lr 0.1 -token @",
    "export TOKEN=@; run",
    "export TOKEN='@' && run",
    "TOKEN=@ run",
    "PASSWORD=@;USER=me run",
    "env API_KEY=@, run",
    "curl https://host/path?token=@&lr=1",
    "curl 'https://host/path?lr=1&access_token=@#part'",
    "curl https://host/?OSSAccessKeyId=x&Signature=@&Expires=1",
    "curl https://host/?lr=1&token=other&secret=@",
    "git clone https://me:@@host/repository.git",
    "pip install -i https://__token__:@@host/simple package",
    "mysql://me:@@host:3306/db",
    'curl -H "Authorization: Bearer @" https://host',
    "curl -H 'Authorization: @' https://host",
    "curl -H 'authorization:Basic @'",
    'curl -H "X-Api-Key: @" https://host',
    "curl --oauth2 'Bearer @'",
    "curl -sS -u me:@ https://host",
    "curl --user 'me:@' https://host",
    "mysql -h host -u me -p@ -e 'select 1'",
    "sshpass -p @ ssh host",
    "odpscmd -u me -p @ -e 'show tables'",
    "odpscmd --project=p -p=@",
    "beeline -n me -p @",
    "run --pass @",
    "openssl x -passin pass:@",
    "curl -H 'X-Auth-Key: @' host",
    "curl -H 'Cookie: @' host",
    "curl 'https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=@'",
    "curl https://open.feishu.cn/open-apis/bot/v2/hook/@",
    "curl https://hooks.slack.com/services/T0/B0/@ -d text",
    "docker login -u me -p @ registry",
    "ossutil64 cp -e host -i id -k @ oss://bucket/file .",
    "redis-cli -h host -a @ ping",
    """python -c "os.environ['SECRET'] = '@'" """,
    'conf["oss.accessKeySecret"]="@"',
    """run --json '{"access_key": "@", "lr": 1}'""",
    r"""run --json "{\"access_key\": \"@\", \"lr\": 1}" """,
    """run --json '{"access_key":"@","lr":1}'""",
    "run --conf spark.hadoop.fs.oss.accessKeySecret=@",
    "run --yaml 'password: @'",
    "password = @",
    "SET odps.password=@;",
    "redirect?to=https%3A%2F%2Fhost%2F%3Ftoken%3D@",
    "run --lr 0.1 --token \\\n  @",
    "run --config '<password>@</password>'",
    "<property><name>fs.oss.accessKeySecret</name>\n<value>@</value></property>",
    "echo '-----BEGIN RSA PRIVATE KEY-----\n@\n-----END RSA PRIVATE KEY-----' > id_rsa",
    'subprocess.run(["run", "--token", "@"])',
    r'bash -c "run \"--token\", \"@\""',
    r'{"cmd": "[\"run\", \"--token\", \"@\"]"}',
    "subprocess.run(['run', '--token','@'])",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_secrets_in_command_lines(command):
    """A secret is found in a command line, a URL or a header, and is masked wherever it is quoted."""
    text = command.replace("@@", f"{CANARY}@") if "@@" in command else command.replace("@", CANARY)
    assert CANARY in text
    found = list(find_secrets({"cmd": [text]}))
    assert CANARY in found
    assert CANARY not in redact(f"the service cannot run {text!r}: {CANARY} is bad", found)
    assert CANARY not in mask_text(text)


@pytest.mark.parametrize(
    "write",
    [
        lambda s: {"password": s},
        lambda s: {"cmd": [f"run --password='{s}' --lr 1"]},
        lambda s: {"cmd": [f"run --password '{s}' --lr 1"]},
        lambda s: {"cmd": [f"export PASSWORD='{s}'"]},
    ],
)
def test_any_character_may_stand_in_a_secret(write):
    """Quoted values keep their blanks and delimiters, and are masked also as JSON and URLs write them."""
    for secret in ("p@ss,w;rd&1", "two words", "tab\tulator", "ümlaut", "a%b c", 'quo"te', "back\\slash"):
        found = list(find_secrets(write(secret)))
        assert secret in found
        for form in (
            secret,
            json.dumps(secret),
            json.dumps(secret, ensure_ascii=False),
            quote(secret),
            quote_plus(secret),
        ):
            assert secret not in redact(form, found)
            assert MASK in redact(form, found)
        assert MASK in redact(quote(secret, safe="").lower(), found)


@pytest.mark.parametrize(
    "value", ["can4ry", ["can4ry"], {"x": "can4ry"}, {"can4ry": 1}, [[{"y": ["can4ry"]}]]], ids=str
)
def test_a_secret_member_of_any_type(value):
    """The value of a secret member is a secret whatever its type is."""
    assert "can4ry" in set(find_secrets({"access_key": value}))
    text = json.dumps({"access_key": value, "Name": "x"})
    assert "can4ry" not in mask_text(text)
    assert '"Name": "x"' in mask_text(text)


@pytest.mark.parametrize(("key", "value"), [("Key", "Value"), ("name", "value")])
def test_a_tag_with_a_secret_s_name_has_a_secret_value(key, value):
    """The name of a tag and of a variable stands beside its value, not in front of it."""
    assert list(find_secrets({"Tag": [{key: "db_password", value: "can4ry"}]})) == ["can4ry"]
    assert list(find_secrets({"Tag": [{key: "team", value: "vision"}]})) == []


@pytest.mark.parametrize("option", ["--token", "-DaccessKeySecret", "--db-password"])
def test_the_word_after_an_option_in_a_list_is_its_value(option):
    """A command may be written as the list of its words."""
    assert list(find_secrets({"cmd": ["run", option, "can4ry", "--lr", "0.1"]})) == ["can4ry"]


@pytest.mark.parametrize(
    "words",
    [["run --token", "sync all"], ["--token", "--verbose"], ["--token", "sync all"], ["--lr", "0.001"]],
)
def test_a_list_of_commands_is_not_a_list_of_words(words):
    """The next command is not the value of the last option of the one before, nor is an option that of another."""
    assert list(find_secrets({"cmd": words})) == []


def test_numbers_are_secrets_too():
    """A password of digits may be written as a number."""
    assert list(find_secrets({"password": 123456, "token": True, "pwd": None})) == ["123456"]


def test_the_token_of_an_alert_is_secret_alone():
    """Of the URL of an alert the token is masked where it stands without its URL."""
    for url in (
        "https://h/send?access_token=can4ry-0123",
        "https://h/hook/0123456789-can4ry-0123",
        "https://h/robot/0123456789-can4ry-0123",
    ):
        found = list(find_secrets({"monitor_config": {"url": url, "keyword": "alert"}}))
        assert url in found
        assert url[-11:] not in redact(url.rpartition("/")[2].rpartition("=")[2], found)
        assert "alert" not in found


def test_the_token_of_an_alert_is_secret_as_it_is_meant():
    """It may be written without the escapes that a URL needs."""
    found = find_secrets({"monitor_config": {"url": "https://h/send?key=can%2B4ry-0123"}})
    assert redact("the token can+4ry-0123", found) == "the token ***"


@pytest.mark.parametrize(
    "harmless",
    [
        "run --password ${PASSWORD}",
        "run --password=$PASSWORD",
        "run --password --lr 0.1",
        "run --token=$(cat /run/token)",
        "run --pwd=a",
        "run --max_token=1024 --tokenizer=bert --pad_token [PAD]",
        "https://host:8080/path?lr=1",
        "https://${USER}:${PASSWORD}@host/",
        "SELECT score FROM t WHERE pt='${exp_id}_${trial_id}'",
        "oss://bucket.oss-cn-beijing.aliyuncs.com/${exp_id}_${trial_id}",
    ],
)
def test_values_that_are_not_secret(harmless):
    """Placeholders, short values and other names are not mistaken for secrets."""
    assert list(find_secrets({"cmd": [harmless]})) == []


def test_hyperparameters_are_not_secrets():
    """The values of a search space are shown, whatever its names are."""
    assert (
        list(find_secrets({"search_space": {"${token}": {"_type": "choice", "_value": [1024, "bert-base"]}}}))
        == []
    )


@pytest.mark.parametrize(
    "text",
    [
        "oss_config: {credential: aaa, passwd: bbb, password: ccc}",
        '{"access_key": ["aaa"], "pwd": {"x": "bbb"}, "token": ccc',
        'access_key: "aaa\npwd=bbb\n--token ccc',
        "monitor_config: 'https://aaa/hook/bbb/ccc'",
        '{"url": "https://aaa/hook/bbb/ccc"',
    ],
)
def test_text_that_is_not_read_is_masked_by_pattern(text):
    """Whatever a text is, the value beside a secret name is masked, however short."""
    masked = mask_text(text)
    assert not [part for part in ("aaa", "bbb", "ccc") if part in masked]


@given(st.text() | st.from_regex(r"(token|--password|[:= \"'{}\[\]&?%\\a-z]){0,40}", fullmatch=True))
def test_any_text_can_be_masked(text):
    """No text raises, and a second mask changes nothing that matters."""
    mask_text(text)
    assert all(len(secret) >= 4 for secret in find_secrets(text))


@pytest.mark.parametrize(
    "piece",
    sample_by_default(
        [
            "token=",
            'token=\\"',
            "token:[",
            "--token ",
            "a-",
            "token: ",
            "://a:b@",
            "'",
            '"',
            "token",
            "bearer ",
            "curl -u ",
            "curl -u a:",
            "a]=",
            " ",
            "\\",
            "a=%",
            "x://hook/",
            "://hooks.hooks/",
            "://hook/a ",
            "LTAI",
            "STS.",
            "odpscmd -u ",
            "<token>",
            "<token></",
            "<name>token</name><value>",
            "<name>token</name> ",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\n-----END",
            "--token \\\n",
            '"--token",',
        ]
    ),
)
def test_hostile_texts_take_linear_time(piece):
    """A text of a message's size is read at once, whatever it repeats."""
    began = time.process_time()
    for _ in find_secrets(piece * (64_000 // len(piece))):
        pass
    assert time.process_time() - began < 3
