import * as assert from "node:assert/strict";

import { TerminalView } from "../../launcher/logView";

describe("a log on a terminal", () => {
    const shown = (content: string | Buffer, size = 1 << 20) => {
        const view = new TerminalView();
        const bytes = Buffer.from(content);
        let text = "";
        for (let at = 0; at < bytes.length; at += size) {
            text += view.show(bytes.subarray(at, at + size));
        }
        return text + view.end();
    };

    for (const [what, log, wanted] of [
        ["text", "größe\tund 😀\n", "größe\tund 😀\n"],
        ["progress bars", "10%\r100%\r\n", "10%\r100%\r\n"],
        [
            "colours, which end with the log",
            "\u001b[1;31mred\u001b[38:5:1mx",
            "\u001b[1;31mred\u001b[38:5:1mx\u001b[0m",
        ],
        ["colours that have ended", "\u001b[31mred\u001b[0m\n", "\u001b[31mred\u001b[0m\n"],
        ["no cursor movement", "a\u001b[2Jb\u001b[10;10Hc\u001b[?1049hd\u001b7e\u001b[Kf\b\bg", "abcdef\ufffd\ufffdg"],
        ["no title", "a\u001b]0;title\u0007b\u001b]2;title\u001b\\c", "abc"],
        ["no clipboard", "a\u001b]52;c;c2VjcmV0\u0007b", "ab"],
        ["no question to the terminal", 'a\u001b[6n\u001b[c\u001bP$q"p\u001b\\\u001bZb\u0005', "ab\ufffd"],
        [
            "no answer of a device control",
            "a\u001bPsecret\u001b\\b\u001b_x\u001b\\c\u001b^y\u001b\\d\u001bXz\u001b\\e",
            "abcde",
        ],
        [
            "no single-character controls",
            "a\u009b31mb\u009d0;t\u009cc\u0090x\u009cd\u0084e",
            "a\u001b[31mbcd\ufffde\u001b[0m",
        ],
        ["no other character set", "a\u001b(0b\u001b)Bc\u000ed", "abc\ufffdd"],
        ["no bell, no NUL", "a\u0007b\u0000c", "a\ufffdb\ufffdc"],
        ["nothing hidden by what has no end", "a\u001b]0;no end\nb\u001b[1;\nc\u001bP\nd", "a\nb\nc\nd"],
        ["a sequence inside of another", "a\u001b[1\u001b[31mb\u001b]x\u001b[32mc", "a\u001b[31mb\u001b[32mc\u001b[0m"],
        ["no colour that is none", "a\u001b[>4;1mb\u001b[31 mc", "abc"],
        ["no sequence without end", `a\u001b[${"1;".repeat(100_000)}mb`, "ab"],
    ] as const) {
        it(`has ${what}`, () => {
            for (const size of [1, 2, 3, 1 << 20]) {
                const text = shown(log, size);
                if (what === "no sequence without end") {
                    assert.ok(text.length < 200, "it is cut");
                } else {
                    assert.equal(text, wanted, `in pieces of ${size}`);
                }
            }
        });
    }

    it("has of any bytes only what is harmless", () => {
        let seed = 1;
        const bytes = Buffer.from(
            Array.from({ length: 100_000 }, () => {
                seed = (seed * 48271) % 0x7fffffff;
                return seed % 3 === 0 ? 0x1b : seed & 0xff;
            }),
        );
        const text = shown(bytes, 777);
        assert.match(
            text.replace(/\u001b\[[0-9;:]*m/g, ""),
            /^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$/,
        );
    });
});
