import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import type { AxeResults } from "axe-core";
import type { BrowserContext, BrowserContextOptions, Page } from "playwright-core";

import type { StepOutcome } from "../../contract/pipeline";
import type { Scope } from "../../service/scopes";
import { Chromium } from "../helpers/chromium";
import { smoothness, watchFrames } from "../helpers/pageFrames";
import { PageService } from "../helpers/pageService";

const hostile = `"><img src=x onerror="globalThis.hacked=1"><script>globalThis.hacked=1</script>'`;
const escape = "\u001b";
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** The pages of the service, in Debian's Chromium. */
describe("the page", () => {
    let service: PageService;
    let chromium: Chromium;
    const contexts: BrowserContext[] = [];
    /** What the browser complained of: scripts that failed, and what the pages' policy forbids. */
    const complaints: string[] = [];

    before(async function () {
        this.timeout(180_000);
        const started = await Chromium.start();
        if (typeof started === "string") {
            process.stderr.write(`      the page is not tested: ${started}\n`);
            this.skip();
        }
        chromium = started;
        service = await PageService.start();
    });
    afterEach(async () => {
        await Promise.all(contexts.splice(0).map(async (context) => context.close()));
        assert.deepEqual(complaints.splice(0), []);
    });
    after(async () => {
        await (chromium as Chromium | undefined)?.stop();
        await (service as PageService | undefined)?.stop();
    });

    /** A window of a browser of its own. */
    async function open(options: BrowserContextOptions = {}): Promise<Page> {
        const context = await chromium.browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
        contexts.push(context);
        const page = await context.newPage();
        page.on("pageerror", (error) => complaints.push(error.message));
        page.on("console", (message) => {
            if (/content security policy/i.test(message.text())) {
                complaints.push(message.text());
            }
        });
        return page;
    }

    /** One that is logged in, at a path. */
    async function visit(path: string, scope: Scope = "admin", options: BrowserContextOptions = {}): Promise<Page> {
        const page = await open(options);
        await page.goto(service.address + path);
        await page.getByLabel("Token").fill(service.token(scope));
        await page.getByRole("button", { name: "Log in" }).click();
        await page.waitForURL(({ pathname }) => pathname !== "/login");
        return page;
    }

    /** The lines that are seen, without their numbers. */
    const seen = async (page: Page) => page.locator(".log .line .text").allTextContents();
    const hasLines = async (page: Page, count: number) =>
        page.locator("#lines", { hasText: `${count.toLocaleString("en")} line` }).waitFor({ timeout: 60_000 });

    describe("without scripts", () => {
        const plain = { javaScriptEnabled: false };

        it("lists builds, and filters and pages them", async () => {
            const marks = { suite: "plain" };
            for (let count = 0; count < 52; count += 1) {
                service.seed({ state: "succeeded", buildTag: `plain${count}`, request: { labels: marks } });
            }
            service.seed({ state: "failed", message: "no fuel", request: { labels: { ...marks, app: "lander" } } });
            const page = await visit("/builds?label=suite%3Dplain", "builds:read", plain);
            assert.equal(await page.locator("tbody tr").count(), 50);
            await page.getByRole("link", { name: "Older" }).click();
            assert.equal(await page.locator("tbody tr").count(), 3);
            await page.getByRole("link", { name: "Newest" }).click();
            await page.getByLabel("State").selectOption("failed");
            await page.getByLabel("Text").fill("FUEL");
            await page.getByRole("button", { name: "Filter" }).click();
            assert.equal(await page.locator("tbody tr").count(), 1);
            await page.getByRole("link", { name: "lander" }).first().click();
            assert.equal((await page.locator("h1").textContent())?.trim(), "lander");
        });

        it("shows a build, with the end of its log as text", async () => {
            const log = await service.log("plainlog");
            await log.append(`${escape}[32mfirst${escape}[0m <b>line</b>\n10%\r20%\n`);
            const { id } = service.seed({ state: "running", buildTag: "plainlog" });
            const page = await visit(`/builds/${id}`, "builds:read", plain);
            assert.equal((await page.locator("pre.tail").textContent())?.trim(), "first <b>line</b>\n20%");
            assert.equal(await page.getByRole("button", { name: "Follow" }).isVisible(), false);
            const whole = await page.context().request.get(`${service.address}/builds/${id}/log`);
            assert.match(await whole.text(), /^\u001b\[32mfirst/);
            assert.match(whole.headers()["content-type"] ?? "", /^text\/plain/);
            await page.getByRole("button", { name: "Log out" }).click();
            await page.goto(`${service.address}/builds/${id}`);
            assert.equal(new URL(page.url()).pathname, "/login");
        });
    });

    describe("a session", () => {
        it("begins with a token that may read, and with no other", async () => {
            const page = await open();
            await page.goto(`${service.address}/builds`);
            await page.getByLabel("Token").fill("ke1_wrong");
            await page.getByRole("button", { name: "Log in" }).click();
            assert.equal(await page.getByRole("alert").textContent(), "This is no token that is known.");
            const { cookies } = await page.context().storageState();
            assert.deepEqual(cookies, []);
        });

        it("is a cookie that scripts and other sites do not get, and that changes nothing by itself", async () => {
            const { id } = service.seed({ caller: "writer" });
            const page = await visit("/builds", "builds:write");
            const [cookie] = (await page.context().storageState()).cookies;
            assert.deepEqual([cookie?.httpOnly, cookie?.sameSite, cookie?.secure], [true, "Strict", false]);
            const send = async (method: string, path: string, headers: Record<string, string>, body?: string) =>
                (
                    await fetch(service.address + path, {
                        ...{ method, body, redirect: "manual" },
                        headers: { cookie: `${cookie?.name}=${cookie?.value}`, ...headers },
                    })
                ).status;
            const form = { "content-type": "application/x-www-form-urlencoded", origin: service.address };
            const csrf = (await page.locator("[name=csrf]").first().getAttribute("value")) ?? "";
            const other = { ...form, origin: "http://127.0.0.1:1" };
            assert.equal(await send("GET", "/v1/builds", {}), 200);
            assert.equal(await send("GET", "/v1/builds", { "sec-fetch-site": "same-site" }), 401);
            assert.equal(await send("POST", `/v1/builds/${id}/cancel`, {}), 401);
            assert.equal(await send("DELETE", `/v1/builds/${id}`, {}), 401);
            assert.equal(await send("POST", `/builds/${id}/cancel`, form, ""), 403);
            assert.equal(await send("POST", `/builds/${id}/cancel`, form, "csrf=x"), 403);
            assert.equal(await send("POST", `/builds/${id}/cancel`, other, `csrf=${csrf}`), 403);
            assert.equal(await send("POST", "/login", other, `token=${service.token("admin")}`), 403);
            assert.equal(service.queue.get(id)?.state, "queued");
            assert.equal(await send("POST", `/builds/${id}/cancel`, form, `csrf=${csrf}`), 303);
            assert.equal(service.queue.get(id)?.state, "cancelled");
            assert.equal(await send("POST", "/logout", form, `csrf=${csrf}`), 303);
            assert.equal(await send("GET", "/v1/builds", {}), 401);
        });

        it("has a secure cookie wherever the service is not on this machine, and leads nowhere else", async () => {
            const answer = await fetch(`${service.address}/login`, {
                method: "POST",
                redirect: "manual",
                headers: { "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin" },
                body: `token=${service.token("builds:read")}&next=//example.com/`,
            });
            assert.equal(answer.headers.get("location"), "/login?kept&next=%2Fbuilds");
            const { request } = await import("node:http");
            const cookie = await new Promise<string>((resolve, reject) => {
                const body = `token=${service.token("builds:read")}`;
                const headers = {
                    ...{ host: "builds.example.com", origin: "https://builds.example.com" },
                    "content-type": "application/x-www-form-urlencoded",
                };
                request(`${service.address}/login`, { method: "POST", headers }, (response) => {
                    response.resume();
                    resolve(String(response.headers["set-cookie"]));
                })
                    .on("error", reject)
                    .end(body);
            });
            assert.match(cookie, /^__Host-ke1=[\w-]+; Path=\/; HttpOnly; SameSite=Strict; Secure$/);
        });

        it("lets whoever only reads do nothing, and others end and repeat builds of their own", async () => {
            const own = service.seed({ caller: "writer", request: { labels: { app: "mine" } } });
            const others = service.seed({ caller: "admin" });
            const reader = await visit(`/builds/${own.id}`, "builds:read");
            assert.equal(await reader.getByRole("button", { name: "Cancel" }).count(), 0);
            const writer = await visit(`/builds/${others.id}`, "builds:write");
            assert.equal(await writer.getByRole("button", { name: "Cancel" }).count(), 0);
            await writer.goto(`${service.address}/builds/${own.id}`);
            await writer.getByRole("button", { name: "Cancel the build" }).click();
            assert.equal(await writer.locator("main .state").first().textContent(), "⊘ cancelled");
            await writer.getByRole("button", { name: "Run again" }).click();
            await writer.waitForURL((url) => !url.pathname.endsWith(own.id));
            const again = service.queue.get(new URL(writer.url()).pathname.slice("/builds/".length));
            assert.deepEqual([again?.state, again?.request], ["queued", own.request]);
        });
    });

    describe("a log", () => {
        it("is followed while it grows, and the state with it", async () => {
            const log = await service.log("live");
            await log.append("begun\n");
            const { id } = service.seed({ state: "running", buildTag: "live", request: { labels: { app: "live" } } });
            const page = await visit(`/builds/${id}`);
            await hasLines(page, 1);
            for (let count = 0; count < 5; count += 1) {
                await log.append(Array.from({ length: 40 }, (_, line) => `part ${count} line ${line}\n`).join(""));
            }
            await hasLines(page, 201);
            assert.equal((await seen(page)).at(-1), "part 4 line 39");
            await page.mouse.move(600, 600);
            await page.mouse.wheel(0, -500);
            await page.locator("#follow[aria-pressed=false]").waitFor();
            await log.append("more\n");
            await hasLines(page, 202);
            assert.equal((await seen(page)).includes("more"), false);
            service.happens(id, "ended", { state: "failed", outcome: "BuildFailed", message: "no fuel" });
            await page.locator("h1 + .state.failed").waitFor();
            assert.equal(await page.locator("#announcement").textContent(), "live live: failed");
            assert.equal(await page.locator(".problem").textContent(), "no fuel");
            await page.getByRole("button", { name: "Run again" }).waitFor();
        });

        it("begins anew with another attempt", async () => {
            await (await service.log("retried", 1)).append("first attempt\nand more\n");
            const { id } = service.seed({ state: "running", buildTag: "retried" });
            const page = await visit(`/builds/${id}`);
            await hasLines(page, 2);
            await (await service.log("retried", 2)).append("second attempt\n");
            await hasLines(page, 1);
            assert.deepEqual(await seen(page), ["second attempt"]);
        });

        it("has colours, and a link to each line", async () => {
            await (
                await service.log("colours")
            ).append(`${escape}[31mred${escape}[0m ${escape}[1;38;2;255;136;0mtrue${escape}[0m\n`.repeat(500));
            const { id } = service.seed({ state: "succeeded", buildTag: "colours" });
            const page = await visit("/builds");
            await page.goto(`${service.address}/builds/${id}#L321`);
            const line = page.locator(".line.current");
            assert.equal(await line.locator("a").textContent(), "321");
            const [red, bold] = await line
                .locator(".text span")
                .evaluateAll((spans) => spans.map((span: any) => [span.textContent, span.style.color, span.className]));
            assert.deepEqual(red, ["red", "rgb(255, 123, 114)", ""]);
            assert.deepEqual(bold, ["true", "rgb(255, 136, 0)", "b"]);
            await page.locator(".log .line a", { hasText: /^325$/ }).click();
            await page.locator(".line.current a", { hasText: "325" }).waitFor();
            assert.equal(new URL(page.url()).hash, "#L325");
        });

        it("has 100,000 lines without a stutter: to load, scroll, search and follow", async function () {
            this.timeout(180_000);
            const text = (line: number) =>
                line % 10 === 0
                    ? `${escape}[33mwarning:${escape}[0m unused variable ${escape}[1m'thrust_${line}'${escape}[0m\n`
                    : `[${line}] cc -O2 -Wall -Wextra -c src/engine/stage_${line}.c -o build/engine/stage_${line}.o\n`;
            const lines = (from: number, count: number) =>
                Array.from({ length: count }, (_, line) => text(from + line)).join("");
            const log = await service.log("long");
            await log.append(lines(1, 100_000));
            const { id } = service.seed({ state: "running", buildTag: "long" });
            const page = await visit("/builds");
            const began = Date.now();
            await page.goto(`${service.address}/builds/${id}`, { waitUntil: "commit" });
            await page.locator("#lines").waitFor();
            await watchFrames(page);
            await hasLines(page, 100_000);
            const loadSeconds = (Date.now() - began) / 1000;
            const loading = await smoothness(page);
            assert.ok((await page.locator(".log .line").count()) < 120);

            await page.locator("#log").focus();
            await page.keyboard.press("Home");
            await watchFrames(page);
            await page.evaluate(`new Promise((done) => {
                const pane = document.getElementById("log");
                let frame = 0;
                const step = () => {
                    frame += 1;
                    pane.scrollTop = frame % 40 === 0 ? Math.random() * pane.scrollHeight : pane.scrollTop + 900;
                    frame < 240 ? requestAnimationFrame(step) : done();
                };
                step();
            })`);
            const scrolling = await smoothness(page);

            await watchFrames(page);
            await page.getByLabel("Search the log").fill("'THRUST_99990'");
            await page.keyboard.press("Enter");
            await page.locator("#found", { hasText: "no match" }).waitFor();
            await page.getByLabel("Search the log").fill("thrust_99990");
            await page.locator("#found", { hasText: "1 of 1" }).waitFor();
            const searching = await smoothness(page);
            assert.equal(await page.locator("mark.here").textContent(), "thrust_99990");

            await page.keyboard.press("Escape");
            await page.keyboard.press("f");
            await watchFrames(page);
            let sent = 0;
            for (const start = Date.now(); sent < 50_000; sent += 2000) {
                await log.append(lines(100_001 + sent, 2000));
                await sleep(Math.max(0, start + (sent + 2000) / 10 - Date.now()));
            }
            await hasLines(page, 150_000);
            const following = await smoothness(page);
            assert.match((await seen(page)).at(-1) ?? "", /thrust_150000/);

            const parts = { loading, scrolling, searching, following };
            for (const [part, { longestTask, median, p95, longest, frames }] of Object.entries(parts)) {
                process.stderr.write(
                    `      ${part}: longest task ${longestTask} ms; frames ${median} ms, p95 ${p95} ms, ` +
                        `longest ${longest} ms (${frames})\n`,
                );
                // A person notices a tenth of a second, but other tests run beside this. Rows for all lines would take many seconds.
                assert.ok(longestTask < 2000, `${part}: ${longestTask} ms`);
                assert.ok(median <= 100, `${part}: ${median} ms a frame`);
            }
            process.stderr.write(`      100,000 lines were there after ${loadSeconds.toFixed(1)} s\n`);
            assert.ok(loadSeconds < 60);
        });
    });

    it("can be walked through with the keyboard alone", async () => {
        const log = await service.log("keys");
        await log.append(Array.from({ length: 300 }, (_, line) => `line ${line + 1} of the log\n`).join(""));
        const labels = { suite: "keys" };
        const { id } = service.seed({ state: "succeeded", buildTag: "keys", request: { labels } });
        service.seed({ state: "succeeded", buildTag: "newer", request: { labels } });
        const page = await visit("/builds?label=suite%3Dkeys");
        const focused = async () => page.evaluate<string>("document.activeElement.textContent.trim()");
        const press = async (...keys: readonly string[]) => {
            for (const key of keys) {
                await page.keyboard.press(key);
            }
        };
        await press("Tab");
        assert.equal(await focused(), "Skip to the content");
        await press("j");
        assert.match(await focused(), /newer$/);
        await press("j", "j");
        assert.match(await focused(), /keys$/);
        await press("k");
        assert.match(await focused(), /newer$/);
        await press("End");
        await press("/", "x", "j");
        assert.equal(await page.getByLabel("Text").inputValue(), "xj");
        await press("Escape", "Home", "End", "Enter");
        await page.waitForURL(`**/builds/${id}`);
        await hasLines(page, 300);
        await press("End");
        await page.locator(".line a", { hasText: /^300$/ }).waitFor();
        await press("Home", "j", "j", "j");
        assert.equal(await page.locator(".line.current a").textContent(), "3");
        await page.waitForURL("**#L3");
        await press("/");
        await page.keyboard.type("line 2");
        await page.locator("#found", { hasText: "2 of 111" }).waitFor();
        await press("Enter", "Enter", "Shift+Enter", "Escape", "n", "p", "p");
        await page.locator("#found", { hasText: "2 of 111" }).waitFor();
        await press("f");
        await page.locator("#follow[aria-pressed=true]").waitFor();
        await press("?");
        await page.getByRole("dialog", { name: "Keys" }).waitFor();
        await page.getByLabel("Keys are on").press("Space");
        await press("Escape", "f");
        assert.equal(await page.locator("#follow").getAttribute("aria-pressed"), "true");
    });

    it("is what a screen reader expects, and readable, in light and in dark", async () => {
        await (
            await service.log("axe")
        ).append(
            Array.from(
                { length: 256 },
                (_, colour) => `${escape}[38;5;${colour}mcolour ${colour}${escape}[2m dim${escape}[0m\n`,
            ).join(""),
        );
        const times = { startedAt: "2026-11-21T10:00:00Z", endedAt: "2026-11-21T10:01:12Z" };
        const labels = { app: "axe" };
        for (const state of ["queued", "running", "failed", "cancelled", "succeeded"] as const) {
            service.seed({ state, ...times, message: state === "failed" ? "no fuel" : undefined, request: { labels } });
        }
        await service.artifacts("axe", {}, [
            {
                name: "engine",
                size: 5_000_000,
                sha256: "0".repeat(64),
                mediaType: "application/octet-stream",
                executable: true,
            },
        ]);
        const { id } = service.seed({
            ...{ state: "succeeded", buildTag: "axe", ...times },
            request: { labels, config: { pipeline: "example/ke-1/pipeline.yaml" } },
        });
        for (const colorScheme of ["light", "dark"] as const) {
            const page = await open({ colorScheme });
            for (const path of ["/login", "/builds?label=app%3Daxe", `/builds/${id}?log=build`]) {
                await page.goto(service.address + path);
                if (path === "/login") {
                    await check(page, `${path} ${colorScheme}`);
                    await page.getByLabel("Token").fill(service.token("admin"));
                    await page.getByRole("button", { name: "Log in" }).click();
                    continue;
                }
                if (path.includes(id)) {
                    await hasLines(page, 256);
                    await page.getByLabel("Search the log").fill("colour 1");
                    await page.locator("#found", { hasText: " of " }).waitFor();
                }
                await check(page, `${path} ${colorScheme}`);
                await page.getByRole("button", { name: "Keys" }).click();
                await check(page, `${path} ${colorScheme}, help`);
            }
            await page.getByRole("button", { name: "Close" }).click();
            const tree = await page.locator("body").ariaSnapshot();
            for (const part of [
                /^- link "Skip to the content"/m,
                /^- banner:/m,
                /^- main:/m,
                /- navigation "Breadcrumbs"/,
                /- heading "axe axe" \[level=1\]/,
                /- heading "Log" \[level=2\]/,
                /- search "Log"/,
                /- button "Follow"/,
                /- region "Lines of the log"/,
                /img "check: lint, unit-tests, build; integration: ignition, what-went-wrong"/,
                /link "axe: succeeded, 1 min 12 s/,
            ]) {
                assert.match(tree, part);
            }
            // The lines are not read out as they come.
            assert.equal(await page.locator("#log [aria-live], #log[aria-live], [role=log]").count(), 0);
        }
    });

    async function check(page: Page, what: string): Promise<void> {
        await page.evaluate(axe);
        const { violations } = await page.evaluate<AxeResults>("axe.run()");
        const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${what}: ${id}: ${html}`));
        assert.deepEqual(found, []);
    }

    it("shows hostile text as text: in the log, labels, names, messages and artifacts", async () => {
        await (await service.log("hostile")).append(`${hostile}\n${escape}]8;;javascript:alert(1)\u0007${hostile}\n`);
        const times = { startedAt: "2026-11-21T10:00:00Z", endedAt: "2026-11-21T10:01:12Z" };
        const digest = { size: 3, sha256: "0".repeat(64), mediaType: hostile, executable: false };
        await service.artifacts("hostile", { [`a/${hostile}`]: "abc" }, [{ name: `a/${hostile}`, ...digest }]);
        const request = { source: hostile, ref: hostile, labels: { app: hostile, [hostile]: hostile }, lane: hostile };
        service.seed({ state: "failed", message: hostile, ...times, request });
        const { id } = service.seed({ state: "succeeded", buildTag: "hostile", message: hostile, ...times, request });
        const page = await visit(`/builds?text=${encodeURIComponent(hostile)}`);
        assert.equal(await page.locator("tbody tr").count(), 2);
        await page.goto(`${service.address}/builds/${id}`);
        await hasLines(page, 2);
        assert.deepEqual(await seen(page), [hostile, hostile]);
        await page.getByLabel("Search the log").fill("<script>");
        await page.locator("mark").first().waitFor();
        assert.equal(await page.locator("main script, main img, .log a[href^=javascript]").count(), 0);
        assert.equal(await page.evaluate("globalThis.hacked"), undefined);
        const download = page.waitForEvent("download");
        await page.getByRole("link", { name: "a/" }).click();
        assert.equal(fs.readFileSync(await (await download).path(), "utf8"), "abc");
        await page.goto(
            `${service.address}/builds?state=${encodeURIComponent(hostile)}&label=${encodeURIComponent(hostile)}`,
        );
        assert.equal(await page.evaluate("globalThis.hacked"), undefined);
    });

    it("forbids in its policy what it does not need, and loads nothing from elsewhere", async () => {
        const { id } = service.seed({ request: { config: { pipeline: "example/ke-1/pipeline.yaml" } } });
        const page = await visit("/builds");
        const asked: string[] = [];
        page.on("request", (request) => asked.push(request.url()));
        const answer = await page.goto(`${service.address}/builds/${id}`);
        await page.locator(".drawing img").waitFor();
        const policy = answer?.headers()["content-security-policy"] ?? "";
        assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
        assert.doesNotMatch(policy, /unsafe|nonce|\*/);
        assert.deepEqual(
            asked.filter((url) => !url.startsWith(`${service.address}/`)),
            [],
        );
        const script = asked.find((url) => url.endsWith("/page.js")) ?? "";
        const { length } = await (await page.context().request.get(script)).body();
        assert.ok(length < 60_000, `the script has ${length} bytes`);
        // The check itself sees what the policy forbids.
        await page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), { text: 'hacked = 1' }))",
        );
        await page.waitForFunction("true");
        assert.equal(complaints.splice(0).length, 1);
    });

    it("draws a pipeline with how its steps ended, and says it in words", async () => {
        const step = (name: string, outcome: StepOutcome, message?: string) => ({
            ...{ name, outcome, success: outcome === "Succeeded", seconds: outcome === "Skipped" ? 0 : 3, message },
        });
        await service.pipeline("pipe", {
            ...{ schemaVersion: 1, buildTag: "pipe", success: false, startedAt: "", finishedAt: "", seconds: 9 },
            errors: [],
            stages: [
                { name: "check", success: true, seconds: 3, steps: [step("lint", "Succeeded")] },
                {
                    name: "integration",
                    success: false,
                    seconds: 3,
                    steps: [step("ignition", "BuildFailed", "no spark")],
                },
            ],
        });
        const config = { pipeline: "example/ke-1/pipeline.yaml" };
        const { id } = service.seed({ state: "failed", buildTag: "pipe", request: { config } });
        const page = await visit(`/builds/${id}`);
        assert.match(
            (await page.getByRole("row", { name: "ignition" }).textContent()) ?? "",
            /✕ BuildFailed\s*3\.0 s\s*no spark/,
        );
        const drawing = await page.context().request.get(`${service.address}/builds/${id}/pipeline.svg`);
        const svg = await drawing.text();
        assert.match(svg, /<rect class="step passed"[^>]*>\s*<text[^>]*>lint/);
        assert.match(svg, /<rect class="step failed"[^>]*>\s*<text[^>]*>ignition/);
        assert.ok(await page.locator(".drawing img").evaluate((image: any) => image.naturalWidth > 100));
    });

    it("does not keep the service from ending", async () => {
        const other = await PageService.start();
        let stopped: number | undefined;
        try {
            const { id } = other.seed({ state: "running" });
            const events = await fetch(`${other.address}/v1/builds/${id}/events`, {
                headers: { authorization: `Bearer ${other.token("builds:read")}` },
            });
            const began = Date.now();
            const [text] = await Promise.all([events.text(), other.stop()]);
            stopped = Date.now() - began;
            assert.match(text, /event: build/);
            // That would tell the page that there will be no more.
            assert.doesNotMatch(text, /event: end/);
        } finally {
            if (stopped === undefined) {
                await other.stop();
            }
        }
        assert.ok(stopped < 10_000, `${stopped} ms`);
    });

    it("keeps the list up to date, and the focus where it is", async () => {
        const labels = { suite: "fresh" };
        const { id } = service.seed({ state: "running", buildTag: "fresh", request: { labels } });
        const page = await visit("/builds?label=suite%3Dfresh");
        await page.keyboard.press("j");
        service.happens(id, "ended", { state: "succeeded", outcome: "Succeeded" });
        await page.locator("tr .state.succeeded").waitFor({ timeout: 10_000 });
        assert.match((await page.locator("#announcement").textContent()) ?? "", /fresh: succeeded$/);
        assert.match(await page.evaluate<string>("document.activeElement.getAttribute('href')"), new RegExp(`${id}$`));
    });
});
