import {
    accessSync,
    chmodSync,
    constants,
    existsSync,
    readdirSync,
    readFileSync,
    rmSync,
    writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { UserError } from "../contract/errors";
import { run, succeeds } from "./run";

interface Need {
    /** Debian's package. */
    readonly package: string;
    /** A program on the path, or an absolute path. */
    readonly programs: readonly string[];
    /** Units that the package enables, and that the platform runs itself. */
    readonly units?: readonly string[];
}

const needs: readonly Need[] = [
    { package: "containerd", programs: ["containerd", "ctr", "containerd-shim-runc-v2"], units: ["containerd"] },
    { package: "runc", programs: ["runc"] },
    { package: "docker.io", programs: ["docker", "dockerd"], units: ["docker.service", "docker.socket"] },
    { package: "docker-registry", programs: ["docker-registry"], units: ["docker-registry"] },
    { package: "mmdebstrap", programs: ["mmdebstrap"] },
    { package: "openssl", programs: ["openssl"] },
    { package: "iproute2", programs: ["ip"] },
    { package: "iptables", programs: ["iptables"] },
    { package: "util-linux", programs: ["flock", "umount"] },
    { package: "tar", programs: ["tar"] },
];

/** Debian's place, and the one of Kubernetes' and Docker's own packages. */
const cniDirectories = ["/usr/lib/cni", "/opt/cni/bin"];
const alsoHere = ["/usr/sbin", "/sbin", ...cniDirectories];
const cniPlugins = ["bridge", "host-local", "loopback"];

/** @returns the absolute path of a program, on the path or in one of the usual places */
export function findProgram(name: string, alsoIn: readonly string[] = ["/usr/sbin", "/sbin"]): string | undefined {
    const directories = [...(process.env["PATH"] ?? "").split(delimiter).filter(Boolean), ...alsoIn];
    return directories.map((directory) => join(directory, name)).find(isExecutable);
}

/** @throws Error when it is not there; `up` installs what is missing before */
export function requireProgram(name: string): string {
    const path = findProgram(name);
    if (path === undefined) {
        throw new Error(`${name} is not installed`);
    }
    return path;
}

export function findCniPlugins(): string | undefined {
    return cniDirectories.find((directory) => cniPlugins.every((name) => isExecutable(join(directory, name))));
}

/** The Debian packages that have to be installed. `withDocker` is false where a Docker answers already. */
export function missingPackages(withDocker: boolean): readonly Need[] {
    const programs = needs.map((need) =>
        need.package === "docker.io" && !withDocker ? { ...need, programs: ["docker"] } : need,
    );
    const missing = programs.filter((need) => !need.programs.every((name) => findProgram(name)));
    const cni =
        findCniPlugins() === undefined ? [{ package: "containernetworking-plugins", programs: cniPlugins }] : [];
    return [...missing, ...cni];
}

/**
 * Installs packages with apt, without letting it start or enable the daemons in them. Not to be interrupted: a half
 * installed package is the user's to mend.
 * @throws UserError where there is no apt, or a package does not hold what it should
 */
export async function installPackages(missing: readonly Need[]): Promise<void> {
    const names = missing.map((need) => need.package);
    if (names.length === 0) {
        return;
    }
    if (findProgram("apt-get") === undefined) {
        const programs = absentPrograms(missing).join(", ");
        throw new UserError(`these programs are missing, and there is no apt to install them: ${programs}`);
    }
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const apt = async (...args: string[]) => run(["apt-get", "-o", "DPkg::Lock::Timeout=120", ...args], { env });
    const install = async () => apt("install", "-y", "--no-install-recommends", ...names);
    await withoutServices(missing, async () => {
        const lists = "/var/lib/apt/lists";
        if (!existsSync(lists) || !readdirSync(lists).some((name) => name.includes("_Packages"))) {
            await apt("update");
            await install();
        } else {
            await install().catch(async () => {
                await apt("update");
                await install();
            });
        }
    });
    const absent = absentPrograms(missing);
    if (absent.length > 0) {
        throw new UserError(`${absent.join(", ")} is still missing after installing ${names.join(", ")}: install it`);
    }
}

function absentPrograms(missing: readonly Need[]): readonly string[] {
    return missing.flatMap((need) => need.programs).filter((name) => findProgram(name, alsoHere) === undefined);
}

const policyFile = "/usr/sbin/policy-rc.d";
const policy = "#!/bin/sh\n# Made by ke1 while it installs packages: their daemons are not to be started.\nexit 101\n";

/** Debian starts a package's daemons unless policy-rc.d says no, and at each boot unless they are disabled. */
async function withoutServices(packages: readonly Need[], action: () => Promise<void>): Promise<void> {
    const ours = !existsSync(policyFile) || readFileSync(policyFile, "utf8") === policy;
    if (ours) {
        writeFileSync(policyFile, policy);
        chmodSync(policyFile, 0o755);
    }
    try {
        await action();
    } finally {
        if (ours) {
            rmSync(policyFile, { force: true });
        }
    }
    const units = packages.flatMap((need) => need.units ?? []);
    if (units.length > 0 && existsSync("/run/systemd/system")) {
        await succeeds(["systemctl", "disable", ...units]);
    }
}

function isExecutable(path: string): boolean {
    try {
        accessSync(path, constants.X_OK);
        return true;
    } catch {
        return false;
    }
}
