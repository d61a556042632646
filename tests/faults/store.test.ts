import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { faultSuite } from "../helpers/faultSuite";
import type { Case } from "../helpers/faultSuite";
import type { FaultedBuild } from "../helpers/faults";
import { Gate } from "../helpers/gate";
import { platform } from "../helpers/ke1";

/** A stack whose store is the platform's, behind a gate of its own. */
function throughStoreGate(what: Case, during: (build: FaultedBuild, gate: Gate) => Promise<void>): Case {
    let used: Gate;
    return {
        ...what,
        before: async (_, cleanUp) => {
            const { blobEndpoint, blobCredentialFile } = platform();
            const { hostname, pathname } = new URL(blobEndpoint);
            used = await Gate.before(blobEndpoint, hostname);
            cleanUp(() => used.close());
            const { account, key } = JSON.parse(fs.readFileSync(blobCredentialFile, "utf8")) as {
                account: string;
                key: string;
            };
            return {
                config: { blobEndpoint: `http://${hostname}:${used.port}${pathname}` },
                environment: { AZURE_STORAGE_CONNECTION_STRING: `AccountName=${account};AccountKey=${key}` },
            };
        },
        during: (build) => during(build, used),
    };
}

/** Resolves with the first request that is as wanted. */
async function request(gate: Gate, wanted: (method: string, url: string) => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
        gate.onRequest = ({ method = "", url = "" }) => {
            if (wanted(method, url)) {
                resolve();
            }
        };
    });
}

/** With a shared access signature: not the launcher, which has the key. */
const isExporters = (url: string) => url.includes("sig=");
/** Its SDK escapes the slashes of a blob's name. */
const isArtifact = (method: string | undefined, url: string) =>
    method === "PUT" && isExporters(url) && /\/bin\/|%2Fbin%2F/i.test(url);

async function away(build: FaultedBuild, gate: Gate, seconds: number): Promise<void> {
    build.fault();
    await gate.close();
    await sleep(seconds * 1000);
    await gate.open();
}

const goesOn = { outcome: "Succeeded", told: /the store does not answer/, attempts: 1 } as const;

faultSuite("faults of the store", 8, {
    "a store that is down for good at the end": throughStoreGate(
        {
            lines: 4,
            config: { retries: 0 },
            expected: { outcome: "ExportFailed", told: /ExportFailed: /, attempts: 1, lines: 4 },
        },
        async (build, gate) => {
            await request(gate, isArtifact);
            build.fault();
            await gate.close();
            const { code } = await build.ended();
            assert.equal(code, 1, build.shown);
            await gate.open();
            // Nothing could be recorded; whoever looks again is told the same, and the store then knows too.
            build.up();
        },
    ),
    "a store that is full": throughStoreGate(
        {
            lines: 4,
            config: { retries: 0 },
            expected: {
                outcome: "ExportFailed",
                told: /ExportFailed: .*(507|InsufficientStorage)/,
                attempts: 1,
                lines: 4,
            },
        },
        async (build, gate) => {
            gate.rule = ({ method, url = "" }) =>
                isArtifact(method, url) ? { status: 507, code: "InsufficientStorage" } : undefined;
            await build.says(/line 4 /);
            build.fault();
        },
    ),
    "a store that refuses the artifacts": throughStoreGate(
        {
            lines: 4,
            config: { retries: 0 },
            expected: {
                outcome: "ExportFailed",
                told: /ExportFailed: .*(409|AccountIsDisabled)/,
                attempts: 1,
                lines: 4,
            },
        },
        async (build, gate) => {
            gate.rule = ({ method, url = "" }) =>
                isArtifact(method, url) ? { status: 409, code: "AccountIsDisabled" } : undefined;
            await build.says(/line 4 /);
            build.fault();
        },
    ),
    "a store that is down at the start, for 15 s": throughStoreGate({ expected: goesOn }, async (build, gate) => {
        await request(gate, (_, url) => isExporters(url));
        await away(build, gate, 15);
    }),
    "a store that is down in the middle, for 15 s": throughStoreGate({ expected: goesOn }, async (build, gate) => {
        await build.says(/line 5 /);
        await away(build, gate, 15);
    }),
    "a store that is down at the end, for 15 s": throughStoreGate({ expected: goesOn }, async (build, gate) => {
        await request(gate, isArtifact);
        await away(build, gate, 15);
    }),
    "a store that does not answer for 15 s": throughStoreGate(
        { expected: { outcome: "Succeeded", told: /Succeeded: /, attempts: 1 } },
        async (build, gate) => {
            await build.says(/line 5 /);
            build.fault();
            gate.freeze();
            await sleep(15_000);
            gate.thaw();
        },
    ),
    "a store that is slow": throughStoreGate(
        { expected: { outcome: "Succeeded", told: /Succeeded: /, attempts: 1 } },
        async (build, gate) => {
            await build.says(/line 2 /);
            build.fault();
            const up = { isOver: false };
            void build.ended().then(() => (up.isOver = true));
            while (!up.isOver) {
                gate.freeze();
                await sleep(900);
                gate.thaw();
                await sleep(300);
            }
        },
    ),
    "a store that loses each fourth answer": throughStoreGate(
        { expected: { outcome: "Succeeded", told: /Succeeded: /, attempts: 1 } },
        async (build, gate) => {
            await build.says(/line 2 /);
            build.fault();
            let count = 0;
            // What was asked for is done; that it was done is not said.
            gate.losesAnswer = ({ url = "" }) => isExporters(url) && ++count % 4 === 0;
        },
    ),
});
