import { existsSync } from "node:fs";
import { binariesAreThere } from "./binaries";
import { daemonsOf, listOf } from "./daemons";
import { daemonState, runningDaemon, type DaemonState } from "./daemon";
import { readDescriptor } from "./descriptor";
import { dockerAnswers } from "./docker";
import { missingPackages } from "./packages";
import { requireMachine } from "./preflight";
import { readSettings } from "./settings";
import { isOwnDocker } from "./up";

/** One line of `ke1 platform status`. */
export interface PartStatus {
    readonly name: string;
    /** `outdated`: it runs, but not as this version would start it; `up` restarts it. */
    readonly state: DaemonState;
    readonly pid?: number;
    readonly address: string;
    readonly version: string;
    /** When it was started, ISO 8601. */
    readonly since?: string;
}

/** The state of each part; empty when the platform was never up. */
export async function platformStatus(home?: string): Promise<readonly PartStatus[]> {
    const settings = readSettings(home);
    requireMachine();
    if (!existsSync(settings.home) || !binariesAreThere(settings) || missingPackages(false).length > 0) {
        return [];
    }
    const descriptor = readDescriptor(settings.home);
    const own = isOwnDocker(settings, descriptor);
    const parts = listOf(daemonsOf(settings, own)).map(async (spec): Promise<PartStatus> => {
        const state = await daemonState(settings, spec);
        const version = await spec.version();
        return { name: spec.name, state, ...runningDaemon(settings, spec.name), address: spec.address, version };
    });
    const foreign = own || descriptor === undefined ? [] : [foreignDockerStatus(descriptor.dockerHost)];
    return Promise.all([...parts, ...foreign]);
}

async function foreignDockerStatus(address: string): Promise<PartStatus> {
    const answers = await dockerAnswers(address.replace("unix://", ""));
    return { name: "dockerd (not ours)", state: answers ? "running" : "stopped", address, version: "" };
}
