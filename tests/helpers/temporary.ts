import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/** A directory of the test's own; removed by `remove`, which a test calls in its `after`. */
export class TemporaryDirectory {
    public readonly path: string;

    public constructor(parent = os.tmpdir()) {
        this.path = fs.mkdtempSync(path.join(parent, "ke1-test-"));
    }

    public file(name: string, content = "", mode = 0o644): string {
        const file = path.join(this.path, name);
        fs.mkdirSync(path.dirname(file), { recursive: true });
        fs.writeFileSync(file, content, { mode });
        return file;
    }

    public remove(): void {
        fs.rmSync(this.path, { recursive: true, force: true });
    }
}

/** A git repository of the test's own. */
export class TemporaryRepository extends TemporaryDirectory {
    public constructor() {
        super();
        this.git("init", "--quiet", "--initial-branch=main");
    }

    public git(...args: string[]): string {
        return execFileSync("git", ["-C", this.path, "-c", "commit.gpgsign=false", ...args], {
            encoding: "utf8",
            stdio: ["ignore", "pipe", "pipe"],
            env: {
                ...process.env,
                GIT_AUTHOR_NAME: "test",
                GIT_AUTHOR_EMAIL: "test@localhost",
                GIT_COMMITTER_NAME: "test",
                GIT_COMMITTER_EMAIL: "test@localhost",
            },
        }).trim();
    }

    /** Commits everything, and returns the short hash. */
    public commit(message = "a commit"): string {
        this.git("add", "--all");
        this.git("commit", "--quiet", "--allow-empty", "-m", message);
        return this.git("rev-parse", "--short", "HEAD");
    }
}
