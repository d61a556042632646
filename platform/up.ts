import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { UserError } from "../contract/errors";
import { blobCredentialFile, blobEndpoint } from "./azurite";
import { binariesAreThere, ensureBinaries, findGo } from "./binaries";
import { pauseImage } from "./containerd";
import { daemonsOf, listOf, type Daemons } from "./daemons";
import { daemonState, ensureDaemon, runningDaemon, strays, type DaemonSpec } from "./daemon";
import { descriptorPath, readDescriptor, type PlatformDescriptor } from "./descriptor";
import { dockerAnswers, foreignDocker, ownDockerSocket, pullIntoDocker } from "./docker";
import { makePrivateDirectory, readIfThere, writePrivateFile } from "./files";
import { readImageBuilder } from "./imageBuilderDescriptor";
import { imageRegistrySpec } from "./imageRegistry";
import { baseImageIsMade, ensureBaseImage, pullImage, pushBaseImage, pushPauseImage } from "./images";
import { kubeconfigPath, kubeContext, writeKubeconfigs } from "./kubeconfig";
import { requireNodeReady } from "./kubelet";
import { withLock } from "./lock";
import { ensureDockerNetwork, ensurePodNetwork, requireFreeSubnets } from "./network";
import { installPackages, missingPackages } from "./packages";
import { ensurePki } from "./pki";
import { requireCgroups, requireFreePorts, requireMachine, requireRoom } from "./preflight";
import { registryName } from "./registry";
import { readSettings, savedChoices, settingsPath, type Settings } from "./settings";
import { showSteps, type Steps } from "./steps";
import { discardFormerBoot, endForgottenTools } from "./teardown";
import { allOrNone } from "./together";
import { kubernetesVersion } from "./versions";

export interface UpOptions {
    readonly home?: string;
    /** Ends what is under way; daemons that were started stay, and the next `up` goes on from there. */
    readonly signal?: AbortSignal;
    /** Says nothing when there is nothing to do. */
    readonly quiet?: boolean;
}

/**
 * Starts what does not run of the embedded platform, and makes what is missing for it.
 * @returns where its services are
 * @throws UserError for what the user can mend
 */
export async function platformUp(options: UpOptions = {}): Promise<PlatformDescriptor> {
    const settings = readSettings(options.home);
    requireMachine();
    const present = await descriptorIfUp(settings);
    if (present !== undefined) {
        if (!options.quiet) {
            process.stderr.write(`platform is up (Kubernetes ${present.kubernetesVersion}, ${settings.home})\n`);
        }
        return present;
    }
    const steps = showSteps();
    try {
        const onWait = () => steps.say("another ke1 platform command is at work here: waiting for it");
        return await withLock(settings, onWait, async () => {
            return (await descriptorIfUp(settings)) ?? (await bringUp(settings, steps, options.signal));
        });
    } finally {
        steps.end();
    }
}

/** Whether every daemon runs as this version would start it, and answers. Takes some 50 ms. */
export async function platformIsUp(home?: string): Promise<boolean> {
    return (await descriptorIfUp(readSettings(home))) !== undefined;
}

async function descriptorIfUp(settings: Settings): Promise<PlatformDescriptor | undefined> {
    const descriptor = readDescriptor(settings.home);
    const made = binariesAreThere(settings) && baseImageIsMade(settings);
    if (descriptor === undefined || !made || missingPackages(false).length > 0) {
        return undefined;
    }
    const own = isOwnDocker(settings, descriptor);
    const daemons = listOf(daemonsOf(settings, own));
    if (daemons.some(({ name }) => runningDaemon(settings, name) === undefined)) {
        return undefined;
    }
    const states = await Promise.all(daemons.map((spec) => daemonState(settings, spec)));
    const docker = own || (await dockerAnswers(descriptor.dockerHost.replace("unix://", "")));
    return docker && states.every((state) => state === "running") ? descriptor : undefined;
}

export function isOwnDocker(settings: Settings, descriptor: PlatformDescriptor | undefined): boolean {
    return descriptor === undefined || descriptor.dockerHost === `unix://${ownDockerSocket(settings)}`;
}

async function bringUp(settings: Settings, steps: Steps, signal?: AbortSignal): Promise<PlatformDescriptor> {
    const begin = performance.now();
    const first = !binariesAreThere(settings) || !baseImageIsMade(settings);
    requireCgroups();
    requireRoom(settings, first);
    refuseOtherSettings(settings);
    if (!binariesAreThere(settings)) {
        await findGo();
    }
    makePrivateDirectory(settings.home);
    makePrivateDirectory(settings.runDir);
    makePrivateDirectory(settings.cacheDir);
    await discardFormerBoot(settings);
    await endForgottenTools(settings);
    const foreign = await foreignDocker(settings);

    // A failure ends what else is under way, and is told only when that has ended.
    const failed = new AbortController();
    const both = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
    const under: Promise<unknown>[] = [];
    const after = <T>(before: readonly Promise<unknown>[], action: () => Promise<T>): Promise<T> => {
        const result = Promise.all(before).then(async () => {
            both.throwIfAborted();
            return action();
        });
        under.push(result.catch((error: unknown) => failed.abort(error)));
        return result;
    };
    try {
        const baseImage = await startAll(settings, foreign === undefined, { steps, after, signal: both });
        const descriptor: PlatformDescriptor = {
            version: 1,
            kubeconfig: kubeconfigPath(settings, "admin"),
            kubeContext,
            registry: registryName(settings),
            blobEndpoint: blobEndpoint(settings),
            blobCredentialFile: blobCredentialFile(settings),
            dockerHost: `unix://${foreign ?? ownDockerSocket(settings)}`,
            baseImage,
            kubernetesVersion: kubernetesVersion(),
            kubectl: join(settings.home, "bin", "kubectl"),
        };
        const content = JSON.stringify(descriptor, undefined, 2) + "\n";
        if (readIfThere(descriptorPath(settings.home)) !== content) {
            writePrivateFile(descriptorPath(settings.home), content);
        }
        steps.say(`platform is up after ${((performance.now() - begin) / 1000).toFixed(1)} s`);
        return descriptor;
    } catch (error) {
        failed.abort(error);
        await Promise.all(under);
        throw (signal?.aborted ? signal.reason : failed.signal.reason) as unknown;
    }
}

type After = <T>(before: readonly Promise<unknown>[], action: () => Promise<T>) => Promise<T>;

interface Frame {
    readonly steps: Steps;
    readonly after: After;
    readonly signal: AbortSignal;
}

/** All that has to be made and started, each as soon as what it needs is there. @returns the base image by digest */
async function startAll(settings: Settings, ownDocker: boolean, frame: Frame): Promise<string> {
    const { steps, after, signal } = frame;
    const missing = missingPackages(ownDocker);
    const packages = after([], async () => {
        if (missing.length > 0) {
            const names = missing.map((need) => need.package).join(", ");
            await steps.step("Debian packages", async () => installPackages(missing), `installing ${names}`);
        }
    });
    const compile = async () =>
        steps.step(
            "Kubernetes and etcd",
            async (progress) => ensureBinaries(settings, progress, signal),
            `compiling Kubernetes ${kubernetesVersion()}, about 4 minutes on two cores the first time`,
        );
    const ensureCompiled = async () =>
        binariesAreThere(settings) ? ensureBinaries(settings, () => undefined) : compile();
    // Needs none of the packages; where they are there, what can be wrong is looked at before.
    const early = missing.length > 0 ? after([], ensureCompiled) : undefined;
    const daemons = await after([packages], async () => prepare(settings, ownDocker));
    const binaries = early ?? after([], ensureCompiled);
    const network = after([], async () => {
        await ensurePodNetwork(settings);
        if (ownDocker) {
            await ensureDockerNetwork(settings);
        }
    });
    const start = (spec: DaemonSpec | undefined, ...before: Promise<unknown>[]) =>
        after(before, async () => {
            if (spec !== undefined && (await daemonState(settings, spec)) !== "running") {
                await steps.step(spec.name, async () => ensureDaemon(settings, spec, signal));
            }
        });
    const registry = start(daemons.registry);
    const containerd = start(daemons.containerd, network);
    const docker = start(daemons.docker, containerd, network);
    const etcd = start(daemons.etcd, binaries);
    const apiServer = start(daemons.apiServer, etcd);
    const pause = after([registry, containerd, binaries], async () => {
        await pushPauseImage(settings);
        await pullImage(settings, pauseImage(settings), signal);
    });
    const kubelet = start(daemons.kubelet, apiServer, containerd, network);
    const made = after([], async () => {
        if (!baseImageIsMade(settings)) {
            const notice = "from Debian's packages, about half a minute the first time";
            await steps.step("base image", async () => ensureBaseImage(settings, signal), notice);
        }
    });
    const base = after([made, registry, containerd, docker], async () =>
        steps.step("images", async () => {
            const name = await pushBaseImage(settings);
            // The first build's pod then has to fetch only what the build's image adds, and that is made at once.
            await allOrNone(signal, [
                async (ended) => pullImage(settings, name, ended),
                async (ended) => (ownDocker ? pullIntoDocker(settings, name, ended) : undefined),
            ]);
            return name;
        }),
    );
    const others = [
        docker,
        start(daemons.azurite, network),
        start(daemons.controllerManager, apiServer),
        start(daemons.scheduler, apiServer),
        start(daemons.gateway, apiServer, registry),
        // A service that builds images needs the door that `up` of a stack opens where it is to build some itself.
        after([network, registry], async () => {
            if (daemons.gateway && readImageBuilder(settings.home)) {
                await start(await imageRegistrySpec(settings));
            }
        }),
    ];
    const node = after([kubelet, pause, ...others], async () =>
        steps.step("node is ready", async () => untilNodeReady(settings, signal)),
    );
    await Promise.all([node, ...others]);
    return base;
}

/** Looks at what could be in the way of the daemons, and makes what they read. */
async function prepare(settings: Settings, ownDocker: boolean): Promise<Daemons> {
    await requireFreeSubnets(settings);
    writePrivateFile(settingsPath(settings.home), JSON.stringify(settings.choices, undefined, 2) + "\n");
    await ensurePki(settings);
    writeKubeconfigs(settings, ["admin", "controller-manager", "scheduler", "kubelet-client"]);
    const daemons = daemonsOf(settings, ownDocker);
    requireOwnPorts(settings, daemons);
    return daemons;
}

async function untilNodeReady(settings: Settings, signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + 60_000;
    for (;;) {
        signal.throwIfAborted();
        try {
            await requireNodeReady(settings, runningDaemon(settings, "kubelet")?.since ?? "");
            return;
        } catch (error) {
            if (Date.now() > deadline) {
                throw error;
            }
            await delay(100);
        }
    }
}

/** Ports that our own daemons hold, also those that no record knows of, are not taken. */
function requireOwnPorts(settings: Settings, daemons: Daemons): void {
    const idle = listOf(daemons).filter(
        (spec) => runningDaemon(settings, spec.name) === undefined && strays(settings, spec.name).length === 0,
    );
    requireFreePorts(idle.flatMap(({ listeners }) => listeners));
}

/** Pods, certificates and addresses of a running platform are tied to its settings. */
function refuseOtherSettings(settings: Settings): void {
    const saved = JSON.stringify(savedChoices(settings.home));
    const running =
        existsSync(settings.runDir) && ["etcd", "kubelet", "azurite"].some((name) => runningDaemon(settings, name));
    if (running && existsSync(settingsPath(settings.home)) && saved !== JSON.stringify(settings.choices)) {
        throw new UserError("the platform runs with other settings (KE1_ variables): run ke1 platform down first");
    }
}
