import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import { Ajv2020 } from "ajv/dist/2020";

import { buildTagPattern } from "../../contract/layout";
import { notificationTypes } from "../../contract/notification";
import { isSuccess, outcomes } from "../../contract/outcome";
import { endMetrics, groupPath, labelNames, metrics, startMetrics } from "../../launcher/notify/metrics";
import type { NotifiedBuild, NotifiedEnding, NotifierOptions } from "../../launcher/notify/notifier";
import { Notifier } from "../../launcher/notify/notifier";
import { oneLine } from "../../launcher/notify/build";
import { endEvent } from "../../launcher/notify/event";
import type { Message } from "../../launcher/notify/http";
import { milliseconds } from "../../launcher/notify/http";
import { notifierSettings } from "../../launcher/notify/settings";
import { notificationOf, signature, signingKey } from "../../launcher/notify/webhook";
import { TemporaryDirectory } from "../helpers/temporary";

const project = path.join(__dirname, "../..");
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const build: NotifiedBuild = {
    buildTag: "0b6f5a1",
    namespace: "ke-1-build-dev",
    job: "ke-1-build-0b6f5a1-1a2b3c",
    stack: "dev",
    source: { commit: "0".repeat(40), tree: "1".repeat(40) },
    command: ["make", "build"],
    startedAt: new Date("2026-11-21T08:51:01.123Z"),
};
const succeeded: NotifiedEnding = {
    outcome: "Succeeded",
    endedAt: new Date("2026-11-21T08:51:11.623Z"),
    exitCode: 0,
    attempt: 1,
    durations: { buildSeconds: 7.5, exportSeconds: 0.25 },
    artifacts: 2,
    logUrl: "https://a.blob.core.windows.net/ke-1-builds/0b6f5a1/logs/x.log",
    manifestUrl: "https://a.blob.core.windows.net/ke-1-builds/0b6f5a1/manifest.json",
};

describe("notifications: who is told", () => {
    const refused: readonly (readonly [string, NotifierOptions, RegExp])[] = [
        ["no URL", { pushgateway: "pushgateway:9091" }, /the Pushgateway's address must be a URL/],
        ["a file", { pushgateway: "file:///etc/passwd" }, /must be a URL that begins with/],
        ["a query", { pushgateway: "https://h/?a=1" }, /without a query/],
        ["a password in the clear", { pushgateway: "http://u:hush@push.example.com" }, /in the clear/],
        ["a webhook that is no URL", { webhook: "hush", webhookSecret: secret }, /the webhook's address must be/],
        ["a webhook in the clear", { webhook: "http://example.com/hush", webhookSecret: secret }, /https:\/\//],
        ["clouds' metadata", { webhook: "http://169.254.169.254/hush", webhookSecret: secret }, /https:\/\//],
        ["a name like localhost", { webhook: "http://localhost.example.com", webhookSecret: secret }, /https:\/\//],
        ["a webhook with a user", { webhook: "https://u:hush@h/", webhookSecret: secret }, /without a user/],
        ["a fragment", { webhook: "https://h/#hush", webhookSecret: secret }, /without a fragment/],
        ["no secret", { webhook: "https://h/" }, /needs a secret/],
        ["a secret alone", { webhookSecret: secret }, /but no webhook/],
        ["a short secret", { webhook: "https://h/", webhookSecret: "whsec_aHVzaA==" }, /24 to 64 bytes/],
        ["a long one", { webhook: "https://h/", webhookSecret: `whsec_${"A".repeat(88)}` }, /24 to 64 bytes/],
        ["one in clear text", { webhook: "https://h/", webhookSecret: "hush".repeat(10) }, /whsec_/],
    ];
    for (const [what, options, message] of refused) {
        it(`refuses ${what}, and repeats no secret`, () => {
            assert.throws(
                () => new Notifier(options),
                (error: Error) => {
                    assert.equal(error.name, "UserError");
                    assert.match(error.message, message);
                    assert.doesNotMatch(error.message, /hush|aHVzaA|\n/);
                    return true;
                },
            );
        });
    }
    it("takes https anywhere, and http on this machine and in private networks", () => {
        for (const host of [
            "localhost:1",
            "127.9.9.9",
            "[::1]:8080",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "[fd00::1]",
        ]) {
            assert.ok(new Notifier({ webhook: `http://${host}/x?token=1`, webhookSecret: secret }), host);
        }
        assert.ok(new Notifier({ webhook: "https://example.com/x", webhookSecret: secret }));
        assert.ok(
            new Notifier({ pushgateway: "http://pushgateway.monitoring:9091/path/" }),
            "there is no secret in it",
        );
    });
    it("is read from the environment, the secret also from a file", () => {
        const directory = new TemporaryDirectory();
        try {
            const file = directory.file("secret", `${secret}\n`, 0o600);
            const environment = {
                KE1_PUSHGATEWAY: "http://p:1",
                KE1_WEBHOOK: "https://h",
                KE1_WEBHOOK_SECRET_FILE: file,
            };
            const { pushgateway, webhook, webhookSecret, debug } = notifierSettings(environment);
            assert.deepEqual(
                [pushgateway, webhook, webhookSecret, debug],
                ["http://p:1", "https://h", secret, undefined],
            );
            assert.deepEqual(Object.values(notifierSettings({ KE1_WEBHOOK: "" })), Array(4).fill(undefined));
            assert.throws(() => notifierSettings({ KE1_WEBHOOK_SECRET_FILE: `${file}x` }), /cannot be read \(ENOENT\)/);
        } finally {
            directory.remove();
        }
    });
    it("is nobody, and costs nothing, when nothing is configured", async () => {
        const notifier = new Notifier({});
        notifier.started(build);
        notifier.ended(build, succeeded);
        const begun = performance.now();
        await notifier.close();
        assert.ok(performance.now() - begun < 500);
    });
});

describe("notifications: what goes to the webhook", () => {
    it("is signed as Standard Webhooks' own example", () => {
        const key = signingKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert.equal(
            signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}'),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        );
    });

    const schema = JSON.parse(
        fs.readFileSync(path.join(project, "contract/schemas/notification.schema.json"), "utf8"),
    ) as Record<string, any>;
    const validate = new Ajv2020({ strict: true, allErrors: true }).compile(schema);
    const sent = (ending?: NotifiedEnding) =>
        JSON.parse(JSON.stringify(notificationOf(build, ending))) as Record<string, any> & {
            data: Record<string, any>;
        };

    it("is what the schema says, for a start and for each outcome", () => {
        assert.ok(validate(sent()), JSON.stringify(validate.errors));
        assert.equal(sent().type, "dev.ke1.build.started.v1");
        const types = new Set<string>();
        for (const outcome of outcomes) {
            const notification = sent({ ...succeeded, outcome });
            assert.ok(validate(notification), `${outcome}: ${JSON.stringify(validate.errors)}`);
            assert.equal(notification.type === "dev.ke1.build.succeeded.v1", isSuccess(outcome));
            types.add(notification.type);
            if (!isSuccess(outcome)) {
                assert.ok(validate(sent({ outcome, endedAt: succeeded.endedAt })), "little is known");
            }
        }
        assert.deepEqual([...types, "dev.ke1.build.started.v1"].sort(), [...notificationTypes].sort());
    });
    it("is refused by the schema when anything is wrong with it", () => {
        const good = sent(succeeded);
        assert.ok(validate(good));
        const wrong = (changes: object, data: object = {}) => ({
            ...good,
            ...changes,
            data: { ...good.data, ...data },
        });
        for (const notification of [
            wrong({ type: "dev.ke1.build.failed.v1" }),
            wrong({ type: "dev.ke1.build.started.v1" }),
            wrong({ specversion: "2.0" }),
            wrong({ extra: 1 }),
            wrong({ id: "1" }),
            wrong({}, { extra: 1 }),
            wrong({}, { outcome: "Fine" }),
            wrong({}, { outcome: "Cancelled" }),
            wrong({}, { endedAt: undefined }),
            wrong({}, { manifestUrl: undefined }),
            wrong({}, { logUrl: "https://h/x?sig=secret" }),
            wrong({}, { attempt: 0 }),
        ]) {
            assert.equal(validate(JSON.parse(JSON.stringify(notification))), false, JSON.stringify(notification));
        }
    });
    it("has the outcomes, types and tags of the contract", () => {
        assert.deepEqual(schema["properties"].type.enum, notificationTypes);
        assert.deepEqual(schema["properties"].data.properties.outcome.enum, outcomes);
        assert.equal(schema["$defs"].buildTag.pattern, buildTagPattern.source);
    });
    it("says why in one line of bounded length, and in which Job", () => {
        const message = `first\nsecond \u001b[31mred ${"ü".repeat(10_000)}`;
        const { data, source } = sent({ ...succeeded, outcome: "BuildFailed", message, job: "the-second" });
        assert.ok(/^first second {2}\[31mred ü+…$/.test(data["message"]));
        assert.ok(Buffer.byteLength(data["message"]) <= 4096);
        assert.equal(source, "/ke1/ke-1-build-dev/the-second");
        assert.equal(data["job"].name, "the-second");
    });
    it("waits as long as it is asked to", () => {
        const now = Date.parse("2026-11-21T08:00:00Z");
        assert.equal(milliseconds("7", now), 7000);
        assert.equal(milliseconds("Sat, 21 Nov 2026 08:00:09 GMT", now), 9000);
        assert.equal(milliseconds("Sat, 21 Nov 2026 07:00:00 GMT", now), 0);
        assert.equal(milliseconds("soon", now), undefined);
        assert.equal(milliseconds(undefined, now), undefined);
    });
});

describe("notifications: the event on the Job", () => {
    it("fits into 1,024 bytes, without half a character", () => {
        for (let padding = 0; padding < 4; padding++) {
            const message = "x".repeat(padding) + "😀".repeat(1000);
            const event = endEvent(build, { ...succeeded, outcome: "BuildFailed", message });
            assert.ok(Buffer.byteLength(event.message) <= 1024);
            assert.ok(Buffer.byteLength(event.message) > 1016);
            assert.ok(/^build 0b6f5a1: x*(😀)+…$/u.test(event.message), String(padding));
        }
        assert.equal(oneLine("a\u2028b\r\n\tc\u0000", 100), "a b c");
    });
    it("warns of what went wrong by itself, and of nothing else", () => {
        const events = outcomes.map((outcome) => endEvent(build, { ...succeeded, outcome }));
        assert.deepEqual(
            events.filter((event) => event.type === "Normal").map((event) => event.reason),
            ["BuildSucceeded", "BuildAlreadyBuilt", "BuildCancelled"],
        );
        assert.equal(new Set(events.map((event) => event.reason)).size, outcomes.length);
        events.forEach((event) => assert.match(event.reason, /^Build[A-Z][A-Za-z]+$/));
    });
});

describe("notifications: metrics", () => {
    const names = Object.keys(metrics);
    const namesIn = (text: string) => [...text.matchAll(/^(ke1_\w+)[{ ]/gm)].map((match) => match[1]!);

    it("are named by Prometheus' conventions", () => {
        for (const [name, help] of Object.entries(metrics)) {
            assert.match(name, /^ke1_build_[a-z_]+[a-z]$/);
            assert.doesNotMatch(
                name,
                /_(total|count|sum|bucket|ms|milliseconds|minutes|hours|gauge)$/,
                "all are gauges",
            );
            assert.match(help, /^[A-Z].*\.$/);
            assert.equal(/\b(time|duration)\b/.test(name.replaceAll("_", " ")), name.endsWith("_seconds"), name);
        }
    });
    it("are all pushed at the end of a success, and nothing but the start's time at a start", () => {
        assert.deepEqual([...new Set(namesIn(endMetrics(build, succeeded)))].sort(), [...names].sort());
        assert.deepEqual(namesIn(startMetrics(build)), ["ke1_build_start_time_seconds"]);
        assert.match(startMetrics(build), /^ke1_build_start_time_seconds 1795251061\.123$/m);
    });
    it("leave the time of the last success alone when there is none", () => {
        const failed = endMetrics(build, { outcome: "OutOfMemory", endedAt: succeeded.endedAt });
        assert.deepEqual(
            names.filter((name) => !namesIn(failed).includes(name)),
            ["ke1_build_last_success_time_seconds"],
        );
        assert.match(failed, /^ke1_build_export_duration_seconds NaN$/m);
        assert.match(failed, /^ke1_build_exit_code NaN$/m);
        assert.match(failed, /^ke1_build_duration_seconds 10\.5$/m);
    });
    it("say of what was built already that nothing was run", () => {
        const already = endMetrics(build, { ...succeeded, outcome: "AlreadyBuilt" });
        assert.match(already, /^ke1_build_command_duration_seconds NaN$/m);
        assert.match(already, /^ke1_build_success 1$/m);
    });
    it("are in a group for each namespace and stack, whatever these are called", () => {
        assert.equal(groupPath(build), "/metrics/job/ke1_build/namespace/ke-1-build-dev/stack/dev");
        assert.equal(groupPath({ ...build, stack: undefined }), "/metrics/job/ke1_build/namespace/ke-1-build-dev");
        assert.match(groupPath({ ...build, step: "lint" }), /\/stack\/dev\/step\/lint$/);
        assert.match(groupPath({ ...build, stack: "a/b?" }), /\/stack@base64\/YS9iPw$/);
        assert.match(groupPath({ ...build, stack: "a ?" }), /\/stack\/a%20%3F$/);
    });
    it("are described in docs/monitoring.md, each of them, and no other", () => {
        const described = fs.readFileSync(path.join(project, "docs/monitoring.md"), "utf8");
        const inTable = [...described.matchAll(/^\| `(ke1_(?!service_)\w+)/gm)].map((match) => match[1]!);
        assert.deepEqual(inTable.sort(), [...names].sort());
    });
});

describe("notifications: the dashboard", () => {
    const text = fs.readFileSync(path.join(project, "docs/grafana/ke1.json"), "utf8");
    interface Panel {
        readonly id: number;
        readonly title: string;
        readonly description: string;
        readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
        readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
    }
    const dashboard = JSON.parse(text) as { readonly uid: string; readonly panels: readonly Panel[] };

    it("shows only metrics that are pushed, and nearly all of them", () => {
        const shown = new Set([...text.matchAll(/\bke1_[a-z_]+/g)].map((match) => match[0]));
        // The job's label has such a name too.
        shown.delete("ke1_build");
        const unknown = [...shown].filter((name) => !Object.keys(metrics).includes(name));
        assert.deepEqual(unknown, []);
        assert.deepEqual(
            Object.keys(metrics).filter((name) => !shown.has(name)),
            [],
        );
    });
    it("tells series apart by labels that they have", () => {
        for (const { expr, legendFormat } of dashboard.panels.flatMap((panel) => panel.targets)) {
            const used = [
                ...[...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1]!),
                ...[...expr.matchAll(/(?:[{,]\s*)(\w+)\s*(?:=~|!~|!=|=)/g)].map((match) => match[1]!),
            ];
            assert.ok(expr.includes('job="ke1_build"'), expr);
            used.forEach((label) => assert.ok((labelNames as readonly string[]).includes(label), label));
        }
    });
    it("has panels that are described and do not overlap", () => {
        const taken = new Set<string>();
        for (const { gridPos, description, title } of dashboard.panels) {
            assert.ok(description.length > 10, title);
            for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
                for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
                    assert.ok(x < 24 && !taken.has(`${x},${y}`), title);
                    taken.add(`${x},${y}`);
                }
            }
        }
        assert.equal(new Set(dashboard.panels.map((panel) => panel.id)).size, dashboard.panels.length);
    });
});

describe("notifications: what cannot be told", () => {
    const said: string[] = [];
    const say = (line: string) => said.push(line);
    const webhook = { webhook: "https://hooks.example.com/hush?token=hush", webhookSecret: secret };
    beforeEach(() => said.splice(0));

    it("is one line for each receiver, without a secret", async () => {
        const notifier = new Notifier({
            ...webhook,
            pushgateway: "https://u:hush@push.example.com",
            event: async () => Promise.reject(new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } })),
            send: async () => Promise.reject(new Error("getaddrinfo hush", { cause: { code: "ENOTFOUND" } })),
            say,
        });
        notifier.started(build);
        notifier.ended(build, succeeded);
        await notifier.close(100);
        assert.deepEqual(said, [
            "the Pushgateway at push.example.com could not be told of the build's end: ENOTFOUND",
            "the webhook at hooks.example.com could not be told of the build's start and end: ENOTFOUND",
            "the Job's events could not be told of the build's start and end: ECONNREFUSED",
        ]);
        assert.doesNotMatch(said.join(), /hush/);
    });
    it("is nothing to talk of when one may not write events", async () => {
        const debugged: string[] = [];
        let asked = 0;
        const notifier = new Notifier({
            event: async () => {
                asked++;
                return Promise.reject(Object.assign(new Error("forbidden"), { code: 403 }));
            },
            say,
            debug: (line) => debugged.push(line),
        });
        notifier.started(build);
        notifier.ended(build, succeeded);
        await notifier.close();
        assert.deepEqual(said, []);
        assert.equal(asked, 2);
        assert.equal(debugged.length, 2);
        assert.match(debugged[0]!, /403/);
    });
    it("does not throw, whatever is to be told", async () => {
        const notifier = new Notifier({ ...webhook, send: async () => Promise.resolve({ status: 200 }), say });
        notifier.started({ ...build, startedAt: new Date(Number.NaN) });
        notifier.ended(build, { ...succeeded, endedAt: new Date(Number.NaN) });
        await notifier.close();
        assert.equal(said.length, 1);
    });
    it("does not hold up the end beyond the bound, also where nothing can be aborted", async () => {
        const never = () => new Promise<never>(() => undefined);
        const notifier = new Notifier({ ...webhook, event: never, send: never, say });
        notifier.started(build);
        notifier.ended(build, succeeded);
        const begun = performance.now();
        await notifier.close(200);
        const took = performance.now() - begun;
        assert.ok(took >= 190 && took < 1500, String(took));
        assert.equal(said.length, 2);
        assert.match(said[0]!, /no answer in time/);
    });
    it("is not waited for when everything has been told", async () => {
        const sent: Message[] = [];
        const send = async (message: Message) => {
            sent.push(message);
            return Promise.resolve({ status: 204 });
        };
        const notifier = new Notifier({ ...webhook, pushgateway: "https://push.example.com/behind/", send, say });
        notifier.started(build);
        notifier.ended(build, succeeded);
        await notifier.close();
        assert.deepEqual(said, []);
        const targets = sent.map((message) => message.url.href);
        assert.equal(targets.filter((url) => url === webhook.webhook).length, 2);
        const group = "https://push.example.com/behind/metrics/job/ke1_build/namespace/ke-1-build-dev/stack/dev";
        assert.ok(targets.includes(group), targets.join());
    });
});
