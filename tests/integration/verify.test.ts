import * as assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import { containerSas } from "../../launcher/store";
import { openStore } from "../../cli/context";
import { ExporterPods } from "../helpers/exporterPods";
import { ke1, platform, TemporaryStack } from "../helpers/ke1";
import { TemporaryDirectory } from "../helpers/temporary";

const script = `mkdir -p bin/lib; echo hello > bin/tool; chmod +x bin/tool; head -c 3000000 /dev/zero > bin/lib/large
    ln -s tool bin/latest; : > bin/empty; echo printed`;

/** What `ke1 verify` says of builds that the real exporter stored, and signed. */
describe("verifying a build", () => {
    const directory = new TemporaryDirectory();
    const stack = new TemporaryStack("verify");
    let pods: ExporterPods;
    let publicKey: string;
    let signing: NodeJS.ProcessEnv;

    before(async () => {
        const { blobEndpoint } = platform();
        const store = openStore(`${blobEndpoint}/${stack.container}`);
        await store.create();
        const credential = stack.containerClient().credential as Parameters<typeof containerSas>[0];
        const today = new Date().toISOString().slice(0, 10);
        pods = new ExporterPods(
            directory.path,
            store.url,
            containerSas(credential, blobEndpoint, stack.container, today),
        );
        const pair = generateKeyPairSync("ed25519");
        signing = {
            KE1_SIGNING_KEY_FILE: directory.file(
                "private.pem",
                pair.privateKey.export({ type: "pkcs8", format: "pem" }) as string,
                0o600,
            ),
        };
        publicKey = directory.file("public.pem", pair.publicKey.export({ type: "spki", format: "pem" }) as string);
        const signed = await pods.run("signed", script, signing);
        assert.deepEqual([signed.exporterCode, signed.buildCode], [0, 0], signed.words);
        const unsigned = await pods.run("unsigned", script);
        assert.equal(unsigned.exporterCode, 0, unsigned.words);
    });

    after(async () => {
        await stack.remove();
        directory.remove();
    });

    it("passes for what is stored, with a signature and without", async () => {
        const signed = await stack.ke1(["verify", "signed", "--key", publicKey]);
        assert.equal(signed.code, 0, signed.stdout + signed.stderr);
        assert.match(signed.stdout, /^signed: 3 artifacts verified, of sha256:0+, signed by sha256:[0-9a-f]{64}\n$/);
        const unsigned = await stack.ke1(["verify", "unsigned"]);
        assert.equal(unsigned.code, 0, unsigned.stdout + unsigned.stderr);
        assert.match(unsigned.stderr, /it is not signed/);
        const unchecked = await stack.ke1(["verify", "signed"]);
        assert.match(unchecked.stderr, /it is signed, it says, by sha256:.*give --key/);
    });

    it("fails without a signature where one is asked for, and for another key", async () => {
        const unsigned = await stack.ke1(["verify", "unsigned", "--key", publicKey]);
        assert.deepEqual(
            [unsigned.code, unsigned.stdout],
            [1, "missing: provenance.dsse.json: the build is not signed\n"],
        );
        const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
        const otherKey = directory.file("other.pem", other.export({ type: "spki", format: "pem" }) as string);
        const foreign = await stack.ke1(["verify", "signed", "--key", otherKey]);
        assert.equal(foreign.code, 1);
        assert.match(foreign.stdout, /no valid signature by this key/);
    });

    it("works offline on a directory, and shows every change there", async () => {
        const to = path.join(directory.path, "out");
        const downloaded = await stack.ke1(["artifacts", "signed", "--to", to]);
        assert.equal(downloaded.code, 0, downloaded.stderr);
        // No stack, no store, no network.
        const elsewhere = { HOME: directory.path, KE1_HOME: path.join(directory.path, "nothing") };
        const verify = async (...more: string[]) =>
            ke1(["verify", "--from", to, "--key", publicKey, "--cwd", directory.path, ...more], elsewhere);
        const good = await verify();
        assert.equal(good.code, 0, good.stdout + good.stderr);
        assert.equal((await verify("signed")).code, 0);
        assert.match((await verify("other")).stdout, /it is of the build "signed", not other/);
        fs.appendFileSync(path.join(to, "tool"), "x");
        fs.rmSync(path.join(to, "empty"));
        fs.writeFileSync(path.join(to, "lib", "more"), "");
        const bad = await verify();
        assert.equal(bad.code, 1);
        assert.match(bad.stdout, /^changed: tool: sha256/m);
        assert.match(bad.stdout, /^missing: empty$/m);
        assert.match(bad.stdout, /^extra: lib\/more$/m);
        assert.match(bad.stderr, /^error: signed does not verify$/m);
    });

    it("shows what was changed in the store", async () => {
        const container = stack.containerClient();
        const { exporterCode } = await pods.run("tampered", script, signing);
        assert.equal(exporterCode, 0);
        await container.getBlockBlobClient("tampered/bin/tool").upload("evil!\n", 6);
        await container.getBlockBlobClient("tampered/bin/more").upload("", 0);
        await container.getBlockBlobClient("tampered/bin/empty").delete();
        const manifest = JSON.parse((await stack.blob("tampered/manifest.json")).toString()) as {
            log: { name: string };
            links: { target: string }[];
        };
        await container.getAppendBlobClient(`tampered/${manifest.log.name}`).appendBlock("x", 1);
        const tampered = await stack.ke1(["verify", "tampered", "--key", publicKey]);
        assert.equal(tampered.code, 1);
        assert.deepEqual(
            tampered.stdout.split("\n").map((line) => line.split(": ").slice(0, 2).join(": ")),
            [`changed: ${manifest.log.name}`, "changed: tool", "extra: more", "missing: empty", ""],
        );
        // The link's target is in no digest of an artifact: the signature holds for it all the same.
        manifest.links[0]!.target = "lib/large";
        const changed = JSON.stringify(manifest, undefined, 2);
        await container.getBlockBlobClient("tampered/manifest.json").upload(changed, Buffer.byteLength(changed));
        assert.match((await stack.ke1(["verify", "tampered"])).stdout, /^changed: manifest\.json: its sha256 is/m);
    });

    it("is wrong usage without a key that can be read, a directory, or a build", async () => {
        for (const args of [
            ["signed", "--key", "/nonexistent"],
            ["signed", "--key", signing["KE1_SIGNING_KEY_FILE"]!],
            ["--from", "/nonexistent"],
            ["never-built"],
        ]) {
            const { code, stderr } = await stack.ke1(["verify", ...args]);
            assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
            assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
        }
    });
});
