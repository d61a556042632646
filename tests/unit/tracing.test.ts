import * as assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";

import { isTraced, spanId, traceId, traceParentOf, Tracing } from "../../launcher/tracing";
import { Collector } from "../helpers/collector";
import { projectDirectory } from "../helpers/ke1";

const parent = `00-${traceId("a caller")}-${spanId("a caller")}-01`;

describe("tracing", () => {
    const before = { ...process.env };
    const cleanUp: (() => unknown)[] = [];
    afterEach(async () => {
        for (const name of Object.keys(process.env).filter((each) => each.startsWith("OTEL_"))) {
            Reflect.deleteProperty(process.env, name);
        }
        Object.assign(process.env, before);
        for (const step of cleanUp.splice(0).reverse()) {
            await step();
        }
    });
    /** The library reads the process's environment. */
    const openedWith = async (variables: NodeJS.ProcessEnv): Promise<Tracing> => {
        Object.assign(process.env, variables);
        const tracing = await Tracing.open();
        assert.ok(tracing);
        return tracing;
    };
    const collector = async () => {
        const made = new Collector();
        const url = await made.start();
        cleanUp.push(async () => made.stop());
        return { made, url };
    };

    it("is asked for by the standard variables, and by nothing else", () => {
        const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" };
        assert.equal(isTraced(endpoint), true);
        assert.equal(isTraced({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:4318/v1/traces" }), true);
        assert.equal(isTraced({}), false);
        assert.equal(isTraced({ OTEL_EXPORTER_OTLP_ENDPOINT: "" }), false);
        assert.equal(isTraced({ OTEL_SERVICE_NAME: "builds" }), false);
        assert.equal(isTraced({ ...endpoint, OTEL_SDK_DISABLED: "true" }), false);
        assert.equal(isTraced({ ...endpoint, OTEL_TRACES_EXPORTER: "none" }), false);
    });

    it("loads nothing of its library where nobody asks for it", () => {
        const script =
            `const { Tracing } = require("./launcher/tracing.ts"); void Tracing.open({}).then((tracing) => ` +
            `console.log(tracing, Object.keys(require.cache).filter((file) => file.includes("@opentelemetry")).length))`;
        const args = ["-r", "ts-node/register/transpile-only", "-e", script];
        assert.equal(execFileSync(process.execPath, args, { cwd: projectDirectory }).toString(), "undefined 0\n");
    });

    it("takes a place in a trace as the header has it, and no other", () => {
        assert.equal(traceParentOf(parent), parent);
        const zero = "0".repeat(32);
        for (const bad of [
            undefined,
            "",
            "x",
            parent.replace("00-", "ff-"),
            `${parent}-x`,
            `00-${zero}-${"1".repeat(16)}-01`,
        ]) {
            assert.equal(traceParentOf(bad), undefined);
        }
    });

    it("sends what was recorded, below what was handed on before it", async () => {
        const { made, url } = await collector();
        const tracing = await openedWith({
            OTEL_EXPORTER_OTLP_ENDPOINT: url,
            OTEL_RESOURCE_ATTRIBUTES: "service.name=other",
        });
        const id = spanId("this");
        const place = tracing.place({ name: "outer", parent, id });
        assert.equal(place, `00-${traceId("a caller")}-${id}-01`);
        const [start, end] = [new Date("2026-11-21T08:00:00.000Z"), new Date("2026-11-21T08:00:02.500Z")];
        tracing.record({
            name: "inner",
            parent: place,
            start,
            end,
            error: "no good",
            attributes: { a: 1, b: undefined },
        });
        tracing.record({ name: "outer", parent, id, start, end });
        await tracing.close();
        const [inner, outer] = made.spans;
        assert.equal(made.spans.length, 2);
        assert.equal(inner!.parentSpanId, id);
        assert.equal(outer!.parentSpanId, spanId("a caller"));
        assert.deepEqual([inner!.failed, outer!.failed, inner!.service], [true, false, "other"]);
        assert.deepEqual([inner!.start, inner!.end], [start.getTime(), end.getTime()]);
        assert.deepEqual(inner!.attributes, { a: 1 });
    });

    it("samples as it is told, and hands on whether it did", async () => {
        const { made, url } = await collector();
        const tracing = await openedWith({
            OTEL_EXPORTER_OTLP_ENDPOINT: url,
            OTEL_TRACES_SAMPLER: "parentbased_always_off",
        });
        const now = new Date();
        const span = { name: "one", start: now, end: now };
        assert.match(tracing.record(span), /-00$/);
        assert.match(tracing.record({ ...span, parent }), /-01$/);
        await tracing.close();
        assert.equal(made.spans.length, 1);
    });

    it("lets a process end in time though the collector hangs", async () => {
        const hanging = createServer(() => undefined).listen(0, "127.0.0.1");
        await once(hanging, "listening");
        cleanUp.push(() => {
            hanging.closeAllConnections();
            hanging.close();
        });
        const script =
            `const { Tracing } = require("./launcher/tracing.ts"); void Tracing.open().then(async (tracing) => {` +
            `tracing.record({ name: "lost", start: new Date(), end: new Date() }); await tracing.close(); ` +
            `process.on("exit", () => console.log(performance.now())); })`;
        const { port } = hanging.address() as AddressInfo;
        const { stdout } = await promisify(execFile)(
            process.execPath,
            ["-r", "ts-node/register/transpile-only", "-e", script],
            {
                cwd: projectDirectory,
                env: { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` },
            },
        );
        assert.ok(Number(stdout) < 9000, stdout);
    });

    it("holds nobody up when the collector is gone or hangs", async () => {
        const hanging = createServer(() => undefined).listen(0, "127.0.0.1");
        cleanUp.push(() => {
            hanging.closeAllConnections();
            hanging.close();
        });
        await once(hanging, "listening");
        for (const port of [1, (hanging.address() as AddressInfo).port]) {
            const tracing = await openedWith({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
            tracing.record({ name: "lost", start: new Date(), end: new Date() });
            const begun = Date.now();
            await tracing.close(200);
            assert.ok(Date.now() - begun < 5000);
        }
    });
});
