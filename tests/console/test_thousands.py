"""An organisation with five thousand profiles: reading, scrolling and filtering, with what the browser had to wait measured."""

import json
import urllib.request

from playwright.sync_api import expect

MANY = 5_000


def dynamodb(sandbox, operation, body):
    headers = {
        "content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}",
        "authorization": "AWS4-HMAC-SHA256 Credential=sandbox/20261125/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        "x-amz-date": "20261125T000000Z",
    }
    request = urllib.request.Request(f"http://127.0.0.1:{sandbox.port + 2}/", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def multiply(sandbox):
    """Makes many of one profile that was connected, past the product."""
    sandbox.connect("alice", "x_profile", "interaction", "newsdesk")
    rows = json.dumps([row for row in dynamodb(sandbox, "Scan", {"TableName": "Vault"})["Items"] if "x_profile-42" in json.dumps(row["pk"])])
    batch = []
    for number in range(1_000, 1_000 + MANY - 1):
        made = rows.replace("x_profile-42", f"x_profile-{number}").replace('"42"', f'"{number}"').replace("News Desk", f"Desk {number}")
        batch += [{"PutRequest": {"Item": row}} for row in json.loads(made)]
        if len(batch) > 22:
            dynamodb(sandbox, "BatchWriteItem", {"RequestItems": {"Vault": batch}})
            batch = []
    if batch:
        dynamodb(sandbox, "BatchWriteItem", {"RequestItems": {"Vault": batch}})


def test_five_thousand_profiles_scroll_and_filter(sandbox, visitor):
    multiply(sandbox)
    alice = visitor()
    alice.page.add_init_script("""
        window.long = [];
        new PerformanceObserver((list) => list.getEntries().forEach((task) => window.long.push(Math.round(task.duration)))).observe({ type: 'longtask', buffered: true });
    """)

    def waited(what):
        tasks = alice.page.evaluate("window.long.splice(0)")
        print(f"\n{what}: {len(tasks)} tasks of more than 50 ms, {sum(tasks)} ms, the longest {max(tasks, default=0)} ms")

    alice.sign_in("alice").sees("and more are being read")
    rows = alice.page.locator("ul.rows > li")
    expect(alice.page.locator(".told")).to_have_text(f"{MANY} profiles", timeout=120_000)
    waited("read page by page")
    for _ in range(40):
        alice.page.mouse.wheel(0, 4_000)
        alice.page.wait_for_timeout(16)
    waited("scrolled")
    assert rows.count() < 60, "rows outside of the window are in the document"
    shown = alice.page.evaluate("""() => [...document.querySelectorAll('ul.rows > li')].some((row) => {
        const { top, bottom } = row.getBoundingClientRect();
        return top < innerHeight / 2 && bottom > innerHeight / 2 - 60;
    })""")
    assert shown, "the middle of the window is empty"
    search = alice.page.get_by_role("searchbox", name="Find")
    search.press_sequentially("desk 5678")
    waited("filtered")
    alice.sees(f"1 of {MANY} profiles", "Desk 5678").picture("thousands")
    search.fill("")
    alice.page.get_by_role("combobox", name="Order").select_option("name")
    waited("sorted")
    expect(rows.first).to_contain_text("Desk 1000")
    last = rows.first.get_by_role("link")
    last.focus()
    for _ in range(100):
        alice.page.keyboard.press("Tab", delay=20)  # as fast as a key repeats
    focused = alice.page.evaluate("document.activeElement.innerText")
    assert "Desk 1100" in focused, f"the keyboard lost its place: {focused}"
