import * as assert from "node:assert/strict";
import type { KeyObject } from "node:crypto";
import { createHash, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

import type { Manifest } from "../../contract/manifest";
import type { Evidence } from "../../launcher/evidence";
import { examine } from "../../launcher/evidence";
import { keyIdOf, parsePublicKey } from "../../launcher/signature";
import { verifyDirectory } from "../../launcher/verify";
import { TemporaryDirectory } from "../helpers/temporary";

const sha256 = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");
const artifact = (name: string, content: string, executable = false) => ({
    name,
    size: Buffer.byteLength(content),
    sha256: sha256(content),
    mediaType: "text/plain",
    executable,
});

const manifest: Manifest = {
    schemaVersion: 1,
    buildTag: "abc1234",
    source: { commit: "c".repeat(40), tree: "7".repeat(40) },
    command: ["make", "build"],
    image: `registry/ke-1-build@sha256:${"a".repeat(64)}`,
    job: { namespace: "n", name: "j" },
    attempt: 1,
    startedAt: "2026-11-21T08:51:01.123Z",
    finishedAt: "2026-11-21T08:51:09.456Z",
    durations: { buildSeconds: 1, exportSeconds: 1 },
    log: { name: "logs/x.log", size: 1, sha256: "d".repeat(64) },
    artifacts: [artifact("tool", "#!/bin/sh\n", true), artifact("lib/ü.txt", "content")],
    links: [{ name: "latest", target: "tool" }],
};

const encode = (document: unknown) => Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`);

function statementOf(of: Manifest, encoded = encode(of)) {
    const { buildTag, source, command, image, job, attempt } = of;
    return {
        _type: "https://in-toto.io/Statement/v1",
        subject: of.artifacts.map((one) => ({ name: `bin/${one.name}`, digest: { sha256: one.sha256 } })),
        predicateType: "https://slsa.dev/provenance/v1",
        predicate: {
            buildDefinition: {
                externalParameters: { buildTag, source, command, image },
                internalParameters: { job, attempt },
            },
            runDetails: {
                byproducts: [
                    { name: of.log.name, digest: { sha256: of.log.sha256 } },
                    { name: "manifest.json", digest: { sha256: sha256(encoded) } },
                ],
            },
        },
    };
}

function envelopeOf(payload: Buffer, key: KeyObject, payloadType = "application/vnd.in-toto+json"): Buffer {
    const message = Buffer.concat([
        Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `),
        payload,
    ]);
    const sig = sign(key.asymmetricKeyType === "ed25519" ? null : "sha256", message, key).toString("base64");
    return encode({ payloadType, payload: payload.toString("base64"), signatures: [{ keyid: "k", sig }] });
}

describe("a build's documents", () => {
    const edwards = generateKeyPairSync("ed25519");
    const curve = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const good: Evidence = {
        manifest: encode(manifest),
        provenance: encode(statementOf(manifest)),
        envelope: envelopeOf(encode(statementOf(manifest)), edwards.privateKey),
    };
    const problemsOf = (evidence: Evidence, key?: KeyObject, tag = "abc1234") => examine(evidence, key, tag).problems;

    it("agree, signed or not, by either kind of key", () => {
        assert.deepEqual(problemsOf(good), []);
        assert.deepEqual(problemsOf({ ...good, envelope: undefined }), []);
        const signed = examine(good, edwards.publicKey, undefined);
        assert.deepEqual([signed.problems, signed.signedBy], [[], keyIdOf(edwards.publicKey)]);
        const envelope = envelopeOf(good.provenance!, curve.privateKey);
        assert.deepEqual(problemsOf({ ...good, envelope }, curve.publicKey), []);
        assert.equal(examine(good, undefined, undefined).signedBy, undefined);
    });

    it("are not believed without a signature, by another key, or of another type, where a key is given", () => {
        assert.match(problemsOf({ ...good, envelope: undefined }, edwards.publicKey).join(), /^missing: .*not signed$/);
        const other = generateKeyPairSync("ed25519").publicKey;
        assert.match(problemsOf(good, other).join(), /^changed: provenance\.dsse\.json: it has no valid signature/);
        assert.match(problemsOf(good, curve.publicKey).join(), /no valid signature/);
        const typed = envelopeOf(good.provenance!, edwards.privateKey, "text/plain");
        assert.match(problemsOf({ ...good, envelope: typed }, edwards.publicKey).join(), /no valid signature/);
    });

    it("show any changed byte: each bit of them, one by one", () => {
        for (const name of ["manifest", "provenance", "envelope"] as const) {
            const content = good[name]!;
            for (let at = 0; at < content.length; at++) {
                const changed = Buffer.from(content);
                changed[at]! ^= 1 << (at % 8);
                const evidence = { ...good, [name]: changed };
                const isSame = name === "envelope" && sameEnvelope(changed, content);
                assert.equal(
                    examine(evidence, edwards.publicKey, "abc1234").problems.length === 0,
                    isSame,
                    `${name} ${at}`,
                );
            }
        }
    });

    /** Whether what is signed, and the signature, are the same: white space and the hint at the key may differ. */
    function sameEnvelope(a: Buffer, b: Buffer): boolean {
        const read = (content: Buffer) => {
            try {
                const { payloadType, payload, signatures } = JSON.parse(content.toString()) as {
                    payloadType: string;
                    payload: string;
                    signatures: { sig: string }[];
                };
                const decoded = [payload, signatures[0]!.sig].map((one) => Buffer.from(one, "base64").toString("hex"));
                return [payloadType, ...decoded].join();
            } catch {
                return content.toString("hex");
            }
        };
        return read(a) === read(b);
    }

    it("are told apart: what of the manifest is not as the provenance says", () => {
        const [tool, lib] = manifest.artifacts;
        for (const [change, line] of [
            [
                { artifacts: [tool!, { ...lib!, sha256: "0".repeat(64) }] },
                /lib\/ü\.txt has sha256 0+, the provenance says/,
            ],
            [{ artifacts: [tool!] }, /the provenance names bin\/lib\/ü\.txt, the manifest does not/],
            [{ artifacts: [...manifest.artifacts, artifact("more", "x")] }, /more has sha256 .* does not name it/],
            [{ command: ["make", "evil"] }, /its command is not that/],
            [{ source: { tree: "8".repeat(40) } }, /its source is not that/],
            [{ log: { ...manifest.log, sha256: "0".repeat(64) } }, /its log is not that/],
            [{ links: [{ name: "latest", target: "lib" }] }, /its sha256 is/],
        ] as const) {
            const problems = problemsOf({ ...good, manifest: encode({ ...manifest, ...change }) }, edwards.publicKey);
            assert.ok(
                problems.some((problem) => problem.startsWith("changed: manifest.json") && line.test(problem)),
                problems.join("\n"),
            );
        }
        assert.match(problemsOf(good, undefined, "other").join(), /it is of the build "abc1234", not other/);
    });

    it("of a version that did not name the manifest pass without a signature only", () => {
        const statement = statementOf(manifest);
        statement.predicate.runDetails.byproducts.pop();
        const provenance = encode(statement);
        assert.deepEqual(problemsOf({ ...good, provenance, envelope: undefined }), []);
        const envelope = envelopeOf(provenance, edwards.privateKey);
        assert.match(
            problemsOf({ ...good, provenance, envelope }, edwards.publicKey).join(),
            /does not name the manifest/,
        );
    });

    it("can be missing or nonsense", () => {
        for (const [evidence, line] of [
            [{ ...good, manifest: undefined }, /^missing: manifest\.json$/],
            [{ ...good, provenance: undefined }, /^missing: provenance\.json$/],
            [{ ...good, manifest: Buffer.from("{}") }, /^changed: manifest\.json: it is no manifest$/],
            [{ ...good, manifest: Buffer.from("null") }, /it is no manifest/],
            [{ ...good, provenance: Buffer.from("[]"), envelope: undefined }, /it is no in-toto statement/],
            [{ ...good, envelope: Buffer.from("null") }, /it is no DSSE envelope/],
        ] as const) {
            const { problems } = examine(evidence, undefined, undefined);
            assert.equal(problems.length, 1, problems.join("\n"));
            assert.match(problems[0]!, line);
        }
    });

    it("are checked with a public key, and no other", () => {
        const pem = (key: KeyObject) => key.export({ type: key.type === "private" ? "pkcs8" : "spki", format: "pem" });
        const parse = (key: KeyObject) => parsePublicKey(pem(key) as string);
        assert.equal(keyIdOf(parse(edwards.publicKey)), keyIdOf(edwards.publicKey));
        assert.equal(keyIdOf(parse(curve.publicKey)), keyIdOf(createPublicKey(curve.privateKey)));
        assert.throws(() => parse(edwards.privateKey), /it is a private key/);
        assert.throws(() => parsePublicKey("x"), /no public key in PEM/);
        const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
        assert.throws(() => parse(rsa), /neither an Ed25519 key nor/);
        const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey;
        assert.throws(() => parse(p384), /neither an Ed25519 key nor/);
    });
});

describe("a directory of artifacts", () => {
    let directory: TemporaryDirectory;

    beforeEach(() => {
        directory = new TemporaryDirectory();
        directory.file("tool", "#!/bin/sh\n", 0o755);
        directory.file("lib/ü.txt", "content");
        directory.file(".ke1/manifest.json", "{}");
        fs.symlinkSync("tool", path.join(directory.path, "latest"));
    });
    afterEach(() => {
        directory.remove();
    });

    it("is what the manifest says", async () => {
        assert.deepEqual(await verifyDirectory(directory.path, manifest), []);
    });

    const at = (name: string) => path.join(directory.path, name);
    for (const [what, change, line] of [
        [
            "a changed byte",
            () => fs.writeFileSync(at("lib/ü.txt"), "Content"),
            /^changed: lib\/ü\.txt: sha256 \w+ \(7 b/,
        ],
        ["a byte more", () => fs.appendFileSync(at("tool"), "\n"), /^changed: tool: .* \(11 bytes\)/],
        ["a mode", () => fs.chmodSync(at("tool"), 0o644), /^changed: tool: it is not executable$/],
        ["a missing file", () => fs.rmSync(at("lib"), { recursive: true }), /^missing: lib\/ü\.txt$/],
        ["a missing link", () => fs.rmSync(at("latest")), /^missing: latest$/],
        ["a file more", () => directory.file("lib/new", ""), /^extra: lib\/new$/],
        ["a file more beside the documents", () => directory.file(".ke1/new", ""), /^extra: \.ke1\/new$/],
        ["a name that is more than a line", () => directory.file("a\nchanged: b", ""), /^extra: "a\\nchanged: b"$/],
        [
            "a link that leads elsewhere",
            () => {
                fs.rmSync(at("latest"));
                fs.symlinkSync("lib", at("latest"));
            },
            /^changed: latest: it is a link to lib, not to tool$/,
        ],
        [
            "a link in the place of a file, to one of the same content",
            () => {
                fs.renameSync(at("tool"), at(".ke1/provenance.json"));
                fs.symlinkSync(".ke1/provenance.json", at("tool"));
            },
            /^changed: tool: it is not a regular file$/,
        ],
    ] as const) {
        it(`shows ${what}`, async () => {
            change();
            const problems = await verifyDirectory(directory.path, manifest);
            assert.equal(problems.length, 1, problems.join("\n"));
            assert.match(problems[0]!, line);
        });
    }
});
