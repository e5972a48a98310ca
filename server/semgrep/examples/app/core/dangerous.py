import asyncio
import os
import pickle
import ssl
import subprocess
import urllib.request

import aiohttp
import httpx2
import requests
import yaml
from sqlalchemy import text

_BY_NAME = text("SELECT id FROM agents WHERE name = :name")


async def ask(session, name):
    await session.execute(text(f"SELECT id FROM agents WHERE name = '{name}'"))  # found: sql-is-not-put-together
    await session.execute(text("SELECT id FROM agents WHERE name = '%s'" % name))  # found: sql-is-not-put-together
    await session.execute(text("SELECT id FROM agents WHERE name = " + name))  # found: sql-is-not-put-together
    await session.execute("SELECT id FROM {}".format(name))  # found: sql-is-not-put-together
    await session.execute(text(_BY_NAME + name))  # found: sql-is-not-put-together
    await session.execute(text(f"SELECT id FROM {TABLE} WHERE name = '{name}'"))  # found: sql-is-not-put-together
    await session.execute(text(_SELECT + _WHERE))  # passed: sql-is-not-put-together
    await session.execute(f"SELECT id FROM {TABLE}")  # passed: sql-is-not-put-together
    await session.execute(_BY_NAME, {"name": name})  # passed: sql-is-not-put-together


async def run(name):
    subprocess.run(f"ls {name}", shell=True)  # found: no-shell
    os.system("ls")  # found: no-shell
    await asyncio.create_subprocess_shell("ls")  # found: no-shell
    subprocess.run(["ls", name], check=True)  # passed: no-shell


async def fetch(url, outgoing, session):
    urllib.request.urlopen(url)  # found: outgoing-requests-are-guarded
    requests.get(url)  # found: outgoing-requests-are-guarded
    httpx2.get(url)  # found: outgoing-requests-are-guarded
    aiohttp.ClientSession()  # found: outgoing-requests-are-guarded
    await session.get(url, allow_redirects=True)  # found: redirects-are-not-followed
    await session.get(url, allow_redirects=False)  # passed: redirects-are-not-followed
    await outgoing.post(url)  # passed: outgoing-requests-are-guarded


def trust(session, url, context):
    session.get(url, verify=False)  # found: certificates-are-checked
    context.check_hostname = False  # found: certificates-are-checked
    context.verify_mode = ssl.CERT_NONE  # found: certificates-are-checked
    context.verify_mode = ssl.CERT_REQUIRED  # passed: certificates-are-checked


def read(given):
    eval(given)  # found: data-is-not-code
    pickle.loads(given)  # found: data-is-not-code
    yaml.load(given)  # found: data-is-not-code
    yaml.safe_load(given)  # passed: data-is-not-code
    yaml.load(given, Loader=yaml.SafeLoader)  # passed: data-is-not-code
