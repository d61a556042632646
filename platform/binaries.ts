import { createHash } from "node:crypto";
import { existsSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { UserError } from "../contract/errors";
import { ensureCgroup } from "./cgroups";
import { makeWhole } from "./files";
import { goBuildEnvironment, goBuildFlags } from "./goBuild";
import { findProgram } from "./packages";
import { run } from "./run";
import type { Settings } from "./settings";
import { allOrNone } from "./together";
import { etcdVersion, isOlder, kubernetesVersion, moduleDirectory, neededGo } from "./versions";

const kubernetesPrograms = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"];

let recipe: string | undefined;

/** Where `up` puts the compiled programs: one directory for each state of the go.mod files. */
export function binaryDirectory(settings: Settings): string {
    // Asked for each daemon, and the same for as long as a command runs.
    recipe ??= recipeHash();
    return join(settings.cacheDir, `bin-${recipe.slice(0, 12)}`);
}

function recipeHash(): string {
    const hash = createHash("sha256");
    for (const file of ["go.mod", "go.sum", "etcd/go.mod", "etcd/go.sum", "pause/main.go"]) {
        hash.update(readFileSync(join(moduleDirectory(), file)));
    }
    return hash.update(JSON.stringify([linkerFlags(), process.arch])).digest("hex");
}

export function binary(settings: Settings, name: string): string {
    return join(binaryDirectory(settings), name);
}

/** A directory with this name is complete: it was made under another one. */
export function binariesAreThere(settings: Settings): boolean {
    return existsSync(binaryDirectory(settings));
}

/**
 * Compiles Kubernetes, etcd and the pause program from their Go modules, unless that was done before.
 * @throws UserError when there is no Go, or one that is too old
 */
export async function ensureBinaries(
    settings: Settings,
    onProgress: (text: string) => void,
    signal?: AbortSignal,
): Promise<void> {
    const target = binaryDirectory(settings);
    await makeWhole(target, async (directory) => {
        const go = await findGo();
        let compiled = 0;
        let fetched = 0;
        const build = async (module: string, flags: string, packages: readonly string[], ended: AbortSignal) => {
            await run([go, "build", "-v", ...goBuildFlags, "-ldflags", flags, "-o", directory, ...packages], {
                cwd: join(moduleDirectory(), module),
                env: goBuildEnvironment(),
                group: ensureCgroup(settings, "tools"),
                signal: ended,
                onLine: (line) => {
                    if (line.startsWith("go: downloading")) {
                        onProgress(`${++fetched} modules fetched`);
                    } else if (!line.startsWith("go:")) {
                        onProgress(`${++compiled} packages compiled`);
                    }
                },
            });
        };
        const packages = kubernetesPrograms.map((name) => `k8s.io/kubernetes/cmd/${name}`);
        // Beside each other: while one waits for modules or for its linker, the other has the processors.
        await allOrNone(signal, [
            async (ended) => build("", linkerFlags(), [...packages, "./pause"], ended),
            async (ended) => build("etcd", "-s -w", ["go.etcd.io/etcd/server/v3"], ended),
        ]);
        renameSync(join(directory, "server"), join(directory, "etcd"));
    });
    linkBinaries(settings, target);
}

/** `$KE1_HOME/bin` leads to the programs in use. */
function linkBinaries(settings: Settings, target: string): void {
    const link = join(settings.home, "bin");
    if (!existsSync(link) || readlinkSync(link) !== target) {
        rmSync(`${link}.tmp`, { force: true });
        symlinkSync(target, `${link}.tmp`);
        renameSync(`${link}.tmp`, link);
    }
}

/** As in Kubernetes' hack/lib/version.sh: without it clients that parse the server's version fail. */
function linkerFlags(): string {
    const [, major = "", minor = ""] = /^v(\d+)\.(\d+)/.exec(kubernetesVersion()) ?? [];
    const variables = { gitVersion: kubernetesVersion(), gitMajor: major, gitMinor: minor, gitTreeState: "clean" };
    const set = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((path) =>
        Object.entries(variables).map(([name, value]) => `-X ${path}.${name}=${value}`),
    );
    return ["-s", "-w", ...set].join(" ");
}

/** sudo's path often lacks the place where go.dev's archive is unpacked. */
export async function findGo(): Promise<string> {
    const usual = ["/usr/local/go/bin", "/usr/lib/go/bin", "/snap/bin", join(homedir(), "go", "bin")];
    const go = findProgram("go", usual);
    const what = `to compile Kubernetes ${kubernetesVersion()} and etcd ${etcdVersion()}`;
    if (go === undefined) {
        throw new UserError(`Go is not installed: ${what}, install Go ${neededGo()} or newer from https://go.dev/dl`);
    }
    const [, version = "0", toolchain = ""] =
        /^go(\S+)(?: [^\n]*)?\n(\S*)/.exec(await run([go, "env", "GOVERSION", "GOTOOLCHAIN"])) ?? [];
    // From 1.21 on, Go fetches a newer toolchain itself, unless told not to.
    if (isOlder(version, neededGo()) && (isOlder(version, "1.21") || toolchain === "local")) {
        throw new UserError(`Go ${version} (${go}) is too old ${what}: install Go ${neededGo()} or newer`);
    }
    return go;
}
