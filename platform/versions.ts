import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The directory with `platform/go.mod`: of the project's sources, or around the bundle made from them. */
export function moduleDirectory(): string {
    for (let directory = __dirname; ; directory = dirname(directory)) {
        const found = join(directory, "platform");
        if (existsSync(join(found, "go.mod"))) {
            return found;
        }
        if (directory === dirname(directory)) {
            throw new Error(`no platform/go.mod above ${__dirname}: the installation is not complete`);
        }
    }
}

let kubernetes: string | undefined;

/** For example `v1.34.4`: go.mod is where it is pinned. */
export function kubernetesVersion(): string {
    // Asked for each daemon, and the same for as long as a command runs.
    kubernetes ??= pinned(join(moduleDirectory(), "go.mod"), "k8s.io/kubernetes");
    return kubernetes;
}

export function etcdVersion(): string {
    return pinned(join(moduleDirectory(), "etcd", "go.mod"), "go.etcd.io/etcd/server/v3");
}

/** The least Go that compiles both modules, for example `1.26.0`. */
export function neededGo(): string {
    const versions = ["", "etcd"].map((name) => {
        const text = readFileSync(join(moduleDirectory(), name, "go.mod"), "utf8");
        return /^go (\d+\.\d+(?:\.\d+)?)$/m.exec(text)?.[1] ?? "";
    });
    return versions.reduce((one, other) => (isOlder(one, other) ? other : one));
}

/** Compares versions such as `1.26` and `1.24.3` by their numbers. */
export function isOlder(one: string, other: string): boolean {
    const [a, b] = [one, other].map((text) => text.split(".").map(Number));
    for (let i = 0; i < 3; i++) {
        const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
        if (difference !== 0) {
            return difference < 0;
        }
    }
    return false;
}

function pinned(path: string, module: string): string {
    const line = readFileSync(path, "utf8")
        .split("\n")
        .map((text) =>
            text
                .trim()
                .replace(/^require /, "")
                .split(" "),
        )
        .find(([name, version]) => name === module && version?.startsWith("v"));
    if (line?.[1] === undefined) {
        throw new Error(`${path} does not require ${module}`);
    }
    return line[1];
}
