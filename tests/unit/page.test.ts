import * as assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

import type { BuildRecord } from "../../service/build";
import type { ServiceContext } from "../../service/http/context";
import { pipelineOf } from "../../service/page/buildData";
import { durationsOf } from "../../service/page/durations";
import { durationText, sizeText } from "../../service/page/format";
import { html, raw } from "../../service/page/html";
import { addressOf, labelsOf, readListQuery } from "../../service/page/listQuery";
import { lineOf, longestLine } from "../../service/page/log/line";
import { LogLines } from "../../service/page/log/logLines";
import { Pen, StyleTable } from "../../service/page/log/pen";
import { LogSearch } from "../../service/page/log/search";
import type { Rgb } from "../../service/page/log/styles";
import { contrast, hex, indexedColour, paneBackground, readable } from "../../service/page/log/styles";
import { isFormOf, Sessions } from "../../service/page/sessions";
import { TemporaryDirectory } from "../helpers/temporary";

const escape = "\u001b";

/** A line as text, and the looks of its pieces. */
function shown(raw: string) {
    const table = new StyleTable();
    const { text, looks = [] } = lineOf(raw, new Pen(table));
    const pieces = Array.from({ length: looks.length / 2 }, (_, index) => ({
        text: text.slice(looks[index * 2], looks[index * 2 + 2]),
        ...table.get(looks[index * 2 + 1] ?? 0),
    }));
    return { text, pieces };
}

describe("a line of a log, on the page", () => {
    it("is its text, when there is nothing else in it", () => {
        assert.deepEqual(shown("plain <b>text</b> & more\ttab"), { text: "plain <b>text</b> & more\ttab", pieces: [] });
    });

    it("is what a terminal would show of a progress bar", () => {
        assert.equal(shown("10%\r55%\r100%").text, "100%");
        assert.equal(shown("a long line\rshort").text, "shortg line");
        assert.equal(shown(`a long line\r${escape}[Kshort`).text, "short");
        assert.equal(shown(`a long line${escape}[2K\rshort`).text, "short");
        assert.equal(shown("abc\b\bX\r").text, "aXc");
        assert.equal(shown(`abc${escape}[1Gx${escape}[5GY`).text, "xbc Y");
        assert.equal(shown("done\r").text, "done");
    });

    it("has the 16 colours, the 256, and all of them", () => {
        const { text, pieces } = shown(
            `a${escape}[31mred${escape}[0m b${escape}[1;94mblue${escape}[22m thin${escape}[m ` +
                `${escape}[38;5;208morange${escape}[39m ${escape}[48;2;255;255;0myellow${escape}[49m` +
                `${escape}[38:2::10:200:30mgreen`,
        );
        assert.equal(text, "ared bblue thin orange yellowgreen");
        assert.deepEqual(
            pieces.filter(({ text }) => text.trim() !== ""),
            [
                { text: "red", colour: "#ff7b72" },
                { text: " b" },
                { text: "blue", colour: "#9dcbff", bold: true },
                { text: " thin", colour: "#9dcbff" },
                { text: "orange", colour: "#ff8700" },
                { text: "yellow", colour: "#6c6e72", background: "#ffff00" },
                { text: "green", colour: "#0ac81e" },
            ],
        );
    });

    it("keeps a look from line to line, until it is ended", () => {
        const table = new StyleTable();
        const pen = new Pen(table);
        lineOf(`${escape}[4;3;9mbegun`, pen);
        const [, style] = lineOf("still", pen).looks ?? [];
        assert.deepEqual(table.get(style ?? 0), { italic: true, underline: true, strike: true });
        lineOf(`${escape}[0m`, pen);
        assert.equal(lineOf("plain", pen).looks, undefined);
    });

    it("can be read whatever colours a build asks for", () => {
        const colours: Rgb[] = [0, 4, 16, 17, 52, 88, 232, 240, 250, 255].map(indexedColour);
        for (const colour of colours) {
            for (const background of [paneBackground, ...colours]) {
                assert.ok(
                    contrast(readable(colour, background), background) >= 4.5,
                    `${hex(colour)} on ${hex(background)}`,
                );
            }
        }
        const { pieces } = shown(`${escape}[30;40mblack on black`);
        const rgb = (text = "#000000"): Rgb =>
            [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)) as unknown as Rgb;
        assert.ok(contrast(rgb(pieces[0]?.colour), rgb(pieces[0]?.background)) >= 4.5);
    });

    it("leaves out what would steer a terminal, and nothing after it", () => {
        assert.equal(shown(`a${escape}[2J${escape}[Hb${escape}(Bc${escape}[?25ld`).text, "abcd");
        assert.equal(shown(`a${escape}]8;;https://example.com\u0007link${escape}]8;;\u0007 b`).text, "alink b");
        assert.equal(shown(`a${escape}]0;title${escape}\\b`).text, "ab");
        assert.equal(shown("a\u0000\u0007\u007fb").text, "ab");
        assert.equal(shown(`a${escape}`).text, "a");
        assert.equal(shown(`a${escape}]no end`).text, "a");
        assert.equal(shown(`${escape}[${"9".repeat(80)}m`).text.startsWith("9"), true);
    });

    it("shows the direction it is written in, and turns none", () => {
        assert.equal(shown("access = \u202euser\u202c").text, "access = \ufffduser\ufffd");
    });

    it("is no longer than a page can bear", () => {
        assert.equal(shown("x".repeat(100_000)).text.length, longestLine + 1);
        assert.equal(shown(`${escape}[1m${"x".repeat(100_000)}`).text.length, longestLine + 1);
        assert.equal(shown(`${escape}[999999999Gx`).text.length <= longestLine + 1, true);
    });
});

describe("the lines of a log, on the page", () => {
    it("are the same however the log is cut", () => {
        const log = `one\r\ntwo ${escape}[31mred\nstill red${escape}[0m\n\n10%\r20%\nlast`;
        const whole = new LogLines();
        whole.append(log);
        const cut = new LogLines();
        for (const character of log) {
            cut.append(character);
        }
        const all = (lines: LogLines) => Array.from({ length: lines.length }, (_, index) => lines.line(index));
        assert.deepEqual(all(cut), all(whole));
        assert.deepEqual(
            all(whole).map(({ text }) => text),
            ["one", "two red", "still red", "", "20%", "last"],
        );
    });

    it("show the last line before it is ended, without a colour too much after", () => {
        const lines = new LogLines();
        lines.append(`wait${escape}[32m ok`);
        assert.equal(lines.length, 1);
        assert.equal(lines.text(0), "wait ok");
        assert.equal(lines.text(0), "wait ok");
        lines.append(`${escape}[0m\nplain\n`);
        assert.equal(lines.length, 2);
        assert.deepEqual(lines.line(1), { text: "plain" });
    });

    it("end at a limit, and say so", () => {
        const lines = new LogLines(3);
        lines.append("a\nb\n");
        assert.equal(lines.isFull, false);
        lines.append("c\nd\ne");
        assert.deepEqual([lines.length, lines.isFull, lines.text(2)], [3, true, "c"]);
    });

    it("bear a line without an end", () => {
        const lines = new LogLines();
        for (let count = 0; count < 200; count += 1) {
            lines.append("x".repeat(10_000));
        }
        lines.append(`\r${"y".repeat(3)}\nnext\n`);
        assert.equal(lines.length, 2);
        assert.equal(lines.text(1), "next");
        const bar = new LogLines();
        for (let count = 0; count <= 50_000; count += 1) {
            bar.append(`\rstep ${count}`);
        }
        assert.equal(bar.text(0), "step 50000");
    });
});

describe("the search in a log", () => {
    const texts = ["Alpha", "beta ALPHA", "gamma", "alphabet alpha"];
    const find = (query: string) => {
        const search = new LogSearch(query);
        while (!search.advance(texts.length, (line) => texts[line] ?? "", 2)) {
            // The next slice.
        }
        return search;
    };

    it("finds all lines, in any case unless there is a capital", () => {
        assert.deepEqual(find("alpha").matches, [0, 1, 3]);
        assert.deepEqual(find("ALPHA").matches, [1]);
        assert.deepEqual(find(".*").matches, []);
        assert.deepEqual(find("alpha").placesIn("alphabet alpha"), [0, 5, 9, 14]);
        assert.deepEqual(find("i").placesIn("\u0130 is i"), [2, 3, 5, 6]);
    });

    it("looks again at a line that has grown, and goes on with what comes", () => {
        const search = new LogSearch("end");
        search.advance(2, (line) => ["a", "en"][line] ?? "", 10);
        search.again(1);
        search.advance(3, (line) => ["a", "end", "the end"][line] ?? "", 10);
        assert.deepEqual(search.matches, [1, 2]);
    });

    it("begins with the match that is next", () => {
        const search = find("alpha");
        assert.deepEqual([search.nearest(0, false), search.nearest(2, false), search.nearest(9, false)], [0, 2, 0]);
    });
});

describe("the markup of a page", () => {
    it("has what is put in as text", () => {
        const hostile = `"><script>alert('x')</script>&`;
        assert.equal(
            html`<a title="${hostile}">${[hostile, html`<b>${1}</b>`, raw("<i>")]}${false}${undefined}</a>`.text,
            '<a title="&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;">' +
                "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;<b>1</b><i></a>",
        );
    });

    it("says durations and sizes in words", () => {
        assert.deepEqual([0.25, 9.99, 59.99, 72, 7500].map(durationText), [
            "0.3 s",
            "10 s",
            "1 min 0 s",
            "1 min 12 s",
            "2 h 5 min",
        ]);
        assert.deepEqual([1, 1023, 1024, 1_048_575, 5e9].map(sizeText), [
            "1 byte",
            "1023 bytes",
            "1.0 KiB",
            "1.0 MiB",
            "4.7 GiB",
        ]);
    });

    it("has a pipeline only from a file of the project, or of a trigger, and of a sensible size", () => {
        const home = new TemporaryDirectory();
        try {
            const definition = "stages:\n  - name: s\n    steps:\n      - { name: one, command: make }\n";
            home.file("outside.yaml", definition);
            home.file("project/p.yaml", definition);
            fs.symlinkSync("../outside.yaml", path.join(home.path, "project/link.yaml"));
            const context = { settings: { projectDirectory: path.join(home.path, "project") } } as ServiceContext;
            const stages = (pipeline: string) =>
                pipelineOf(context, {
                    ...{ id: "b1", state: "queued", caller: "x", stack: "x", kept: false, createdAt: "" },
                    request: { kind: "build", source: "x", config: { pipeline }, labels: {} },
                })?.stages.length;
            assert.equal(stages("p.yaml"), 1);
            assert.equal(stages("link.yaml"), undefined);
            // As triggers name it: callers cannot.
            assert.equal(stages(home.file("trigger.yaml", definition)), 1);
            assert.equal(stages(home.file("large.yaml", `${definition}#${"x".repeat(1024 ** 2)}`)), undefined);
            assert.equal(stages("/dev/null"), undefined);
        } finally {
            home.remove();
        }
    });

    it("draws builds that have ended, the oldest first, and none where there is nothing to compare", () => {
        const build = (id: number, seconds: number | undefined): BuildRecord => ({
            ...{
                id: `b${id}`,
                state: "succeeded",
                caller: "x",
                stack: "x",
                kept: false,
                createdAt: "2026-11-21T00:00:00Z",
            },
            request: { kind: "build", source: "x", config: {}, labels: {} },
            startedAt: "2026-11-21T00:00:00Z",
            ...(seconds !== undefined && { endedAt: new Date(Date.UTC(2026, 10, 21) + seconds * 1000).toISOString() }),
        });
        assert.equal(durationsOf([build(1, 3), build(2, undefined)]), undefined);
        const { text } = durationsOf([build(3, 90), build(2, undefined), build(1, 30), build(0, 20)]) ?? raw("");
        assert.deepEqual(
            [...text.matchAll(/href="\/builds\/(\w+)"/g)].map(([, id]) => id),
            ["b0", "b1", "b3"],
        );
        assert.match(text, /The last 3 builds took 30 s in the median, 1 min 30 s at the longest\./);
        assert.doesNotMatch(text, /style=|NaN/);
    });
});

describe("the address of the list", () => {
    it("says what is shown, and is read as it is written", () => {
        const query = {
            text: "a b&c",
            labels: ["app=web", "branch=x=y"],
            state: "failed",
            before: "0123456789ab",
        } as const;
        const { query: read, problem } = readListQuery(new URL(addressOf(query), "http://localhost").searchParams);
        assert.deepEqual([read, problem], [query, undefined]);
        assert.deepEqual(labelsOf(query), { app: "web", branch: "x=y" });
        assert.equal(addressOf({ text: "", labels: [] }), "/builds");
    });

    it("is told of what makes no sense in it", () => {
        assert.match(
            readListQuery(new URLSearchParams("label=web+app%3Da")).problem ?? "",
            /such as app=web, and not web/,
        );
        assert.match(readListQuery(new URLSearchParams("state=gone")).problem ?? "", /no state gone/);
    });
});

describe("a session", () => {
    it("is found by what the cookie holds, until it is closed or not used for long", () => {
        let now = 0;
        const sessions = new Sessions(() => now);
        const [one, other] = [sessions.open("token"), sessions.open("token")];
        assert.notEqual(one, other);
        assert.equal(sessions.get(one)?.token, "token");
        assert.equal(sessions.get("x"), undefined);
        sessions.close(other);
        assert.equal(sessions.get(other), undefined);
        now += 11 * 3600_000;
        assert.ok(sessions.get(one));
        now += 13 * 3600_000;
        assert.equal(sessions.get(one), undefined);
    });

    it("takes its own forms, and no others", () => {
        const sessions = new Sessions();
        const [one, other] = [sessions.get(sessions.open("a")), sessions.get(sessions.open("a"))];
        assert.ok(one && other);
        assert.equal(isFormOf(one, one.csrf), true);
        assert.deepEqual([isFormOf(one, other.csrf), isFormOf(one, ""), isFormOf(one, null)], [false, false, false]);
    });
});
