import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { SourceMap, type SourceMapPayload } from "node:module";
import { dirname, join, relative } from "node:path";
import type { PreparedProgram } from "./preparedProgram";
import type { Project } from "./project";

/** What is known of a bundle (`dist/program.json`). */
export interface BundleManifest {
    readonly id: string;
    /** The SHA-256 of each file that went into it, by its path in the project. */
    readonly inputs: Readonly<Record<string, string>>;
}

/** What asks the SDK for something that is done to modules as they are loaded, or that the bundle leaves out. */
const needingSources = ["PULUMI_DEBUG_PROMISE_LEAKS", "PULUMI_NODEJS_TSCONFIG_PATH", "TRACEPARENT"];

/**
 * A project's program, the SDK and the SDK's runner in one file (bundle/build.ts), which starts in a fraction of the time, and
 * does the same as the sources that it was made of.
 */
export class ProgramBundle {
    /** Where Node.js prints errors in colours, the directory of the process has another than what is in it. */
    private readonly place: RegExp;
    private map: SourceMap | undefined;

    /**
     * @param file the bundle, which need not be there; it is about the project whose directory its own directory is in
     * @param prepared a process that has loaded it already
     */
    public constructor(
        public readonly file: string,
        public readonly prepared?: PreparedProgram,
    ) {
        const [root, inside] = [`${this.root}/`, relative(this.root, file)].map((part) =>
            part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"),
        );
        this.place = new RegExp(`${root}(\\x1b\\[\\d+m)?${inside}:(\\d+):(\\d+)`, "g");
    }

    /**
     * The bundle's id, where the program may be run from it: it is the project's, and was made of the files that are there now.
     */
    public serves(project: Project, environment: NodeJS.ProcessEnv): string | undefined {
        const { runtime, programDirectory, root, entryPoint } = project;
        const isPlain =
            root === this.root &&
            programDirectory === root &&
            entryPoint === "." &&
            runtime.typescript &&
            runtime.tsconfig === undefined &&
            runtime.nodeArguments.length === 0 &&
            !needingSources.some((name) => environment[name]);
        return isPlain ? this.freshId() : undefined;
    }

    /** The text with places in the sources for places in the bundle. */
    public readable(text: string): string {
        return text.replace(this.place, (place, ansi: string | undefined, line: string, column: string) => {
            this.map ??= new SourceMap(JSON.parse(readFileSync(`${this.file}.map`, "utf8")) as SourceMapPayload);
            const entry = this.map.findEntry(Number(line) - 1, Number(column) - 1);
            if (!("originalSource" in entry) || !entry.originalSource) {
                return place;
            }
            const source = relative(this.root, join(dirname(this.file), entry.originalSource));
            return `${this.root}/${ansi ?? ""}${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
        });
    }

    private get root(): string {
        return dirname(dirname(this.file));
    }

    private freshId(): string | undefined {
        try {
            const { id, inputs } = JSON.parse(
                readFileSync(this.file.replace(/\.js$/, ".json"), "utf8"),
            ) as BundleManifest;
            const isFresh = Object.entries(inputs).every(
                ([name, sha256]) => digestOf(join(this.root, name)) === sha256,
            );
            return isFresh ? id : undefined;
        } catch {
            // There is no bundle, or a file that went into it is gone.
            return undefined;
        }
    }
}

function digestOf(file: string): string {
    return createHash("sha256").update(readFileSync(file)).digest("hex");
}
