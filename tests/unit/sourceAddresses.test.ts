import * as assert from "node:assert/strict";

import { AddressGuard, isPublicAddress } from "../../service/sources/addresses";
import { parseSource, withoutCredential } from "../../service/sources/location";

describe("the addresses that sources come from", () => {
    it("takes what is public, and nothing that stands for something else", () => {
        for (const address of ["8.8.8.8", "140.82.121.3", "2606:4700::1111", "2a00:1450:4001::8a"]) {
            assert.equal(isPublicAddress(address), true, address);
        }
        const refused = [
            ["127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "::", "::1"],
            ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fc00::1", "fd00:ec2::254"],
            ["169.254.169.254", "fe80::1", "fe80::1%eth0", "fec0::1", "168.63.129.16"],
            ["224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"],
            ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::"],
            ["64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1", "2001:db8::1", "100::1", "5f00::1"],
            ["", "localhost", "0x7f.1", "999.1.1.1"],
        ].flat();
        for (const address of refused) {
            assert.equal(isPublicAddress(address), false, address);
        }
    });

    it("refuses a name of which one address is not public", async () => {
        const guard = new AddressGuard([], () =>
            Promise.resolve([
                { address: "8.8.8.8", family: 4 },
                { address: "10.0.0.7", family: 4 },
            ]),
        );
        await assert.rejects(
            guard.resolve("both.example", "443"),
            /both\.example \(10\.0\.0\.7\) is not a public address/,
        );
    });

    it("allows the hosts, ports and blocks that are listed", async () => {
        const guard = new AddressGuard(
            ["git.corp.example", "*.dev.example:8443", "10.1.0.0/16", "fd12::/16", "192.168.7.7"],
            () => Promise.resolve([{ address: "10.9.0.1", family: 4 }]),
        );
        for (const [host, port] of [
            ["git.corp.example", "443"],
            ["a.dev.example", "8443"],
            ["10.1.2.3", "80"],
            ["[fd12::1]", "80"],
            ["192.168.7.7", "80"],
            ["[::ffff:10.1.2.3]", "80"],
        ] as const) {
            assert.ok((await guard.resolve(host, port)).length > 0, host);
        }
        for (const [host, port] of [
            ["corp.example", "443"],
            ["a.dev.example", "443"],
            ["dev.example", "8443"],
            ["10.2.0.1", "80"],
            ["evil-git.corp.example", "443"],
            ["192.168.7.8", "80"],
        ] as const) {
            await assert.rejects(guard.resolve(host, port), /is not a public address/, host);
        }
        assert.throws(() => new AddressGuard(["http://x/"]), /allowSources has `http:\/\/x\/`/);
    });

    it("tells the forms of sources apart", () => {
        const kinds: readonly (readonly [string, string, string?])[] = [
            ["https://host.example/a.zip", "archive"],
            ["http://host.example/archive/master?token=1", "archive"],
            ["https://host.example/org/repo.git", "git"],
            ["https://host.example/org/repo", "git", "main"],
            ["git+https://host.example/org/repo", "git"],
            ["git@host.example:org/repo.git", "git"],
            ["ssh://git@host.example/org/repo", "git"],
            ["git://host.example/org/repo", "git"],
            ["docker://docker.io/akkeris/buildshuttle:latest", "image"],
            ["docker://user:pass@localhost:5000/a/b", "image"],
            ["data:base64,UEsDBAo=", "data"],
            ["data:application/zip;base64,UEsDBAo=", "data"],
            [`upload:${"0".repeat(32)}`, "upload"],
            ["/srv/source", "directory"],
        ];
        for (const [source, kind, ref] of kinds) {
            assert.equal(parseSource(source, ref).kind, kind, source);
        }
        const image = parseSource("docker://user:p%40ss@localhost:5000/a/b:1.2");
        assert.deepEqual(image, {
            kind: "image",
            image: { registry: "localhost:5000", repository: "a/b", reference: "1.2" },
            credential: { username: "user", password: "p@ss" },
        });
    });

    it("refuses what is no source in one line, without what it was", () => {
        const bad = [
            ...["", "ftp://h/x", "file:///etc/passwd", "ext::sh -c id", "https://", "javascript:1", "upload:../../x"],
            ...[
                "ssh://-oProxyCommand=id/x",
                "ssh://git@a'$(id)'b/x",
                "ssh://git@a;id/x",
                "ssh://git@a`id`/x",
                "git@-oProxyCommand=id:x",
                "ssh://u:secret@h/x",
                "git+file:///srv/x",
                "git+ssh://h/--upload-pack=id",
            ],
            ...[
                "docker://nohost",
                "docker://h.example/UPPER:x",
                "docker://h.example/a:b/../c",
                "data:text/plain,hello",
                "data:base64,*",
            ],
        ];
        for (const source of bad) {
            assert.throws(
                () => parseSource(source),
                (error: Error) =>
                    error.name === "UserError" && !error.message.includes("\n") && !error.message.includes("secret"),
                source,
            );
        }
    });

    it("shows an address without what is secret in it", () => {
        assert.equal(withoutCredential("https://user:token@h.example/x.git"), "https://h.example/x.git");
        assert.equal(withoutCredential("https://h.example/x.zip?X-Amz-Signature=abc#f"), "https://h.example/x.zip");
        assert.equal(withoutCredential("docker://u:p@h.example/a/b:1"), "docker://h.example/a/b:1");
        assert.equal(withoutCredential("git+https://oauth2:t@h.example/x"), "git+https://h.example/x");
        assert.equal(withoutCredential("ssh://git@h.example/x"), "ssh://git@h.example/x");
        assert.equal(withoutCredential("git@h.example:x"), "git@h.example:x");
        assert.equal(withoutCredential("/srv/x"), "/srv/x");
    });
});
