import { UserError } from "../contract/errors";
import { dnsLabel } from "../contract/patterns";
import type { ConfigSource } from "./reader";
import type { Environment, EnvironmentVolume, SecuritySettings } from "./environmentShape";
import { checkedEnvironment, checkWhole } from "./environmentShape";

export type { Environment, EnvironmentVolume } from "./environmentShape";

/** The environments of a stack as they are configured, by name: checked each by itself, not yet extended. */
export type Environments = Readonly<Record<string, Environment>>;

/** An environment with all that it extends. */
export interface ResolvedEnvironment {
    readonly name: string;
    /** Empty, or a reference by digest. */
    readonly image: string;
    /** `command` and `args` one after the other; empty where the environment has neither. */
    readonly command: readonly string[];
    /** Empty for the image's own. */
    readonly workingDirectory: string;
    readonly env: Readonly<Record<string, string>>;
    readonly resources: ResourceSettings;
    readonly volumes: Readonly<Record<string, EnvironmentVolume>>;
    readonly security: SecuritySettings;
    /** (sidecar) Whether the build fails with it. */
    readonly required: boolean;
    /** (sidecar) How it is told of the build's end: by a file, or by SIGTERM too. */
    readonly onBuildEnd: "file" | "terminate";
}

/** Kubernetes quantities. */
export interface ResourceSettings {
    readonly cpuRequest?: string;
    readonly cpuLimit?: string;
    readonly memoryRequest?: string;
    readonly memoryLimit?: string;
}

/** The containers that are not the build's own, in the order in which they are configured. */
export interface CompanionSettings {
    readonly initContainers: readonly ResolvedEnvironment[];
    readonly sidecars: readonly ResolvedEnvironment[];
    /** How long sidecars are waited for once the build has ended. */
    readonly sidecarLimitSeconds: number;
}

/** The Secrets that are the exporter's alone (components/buildIdentity.ts), beside those that a stack names. */
export const credentialSecret = "ke1-blob-credential";
/** The Secret that images are pulled with, where the stack makes one. No pod mounts it. */
export const pullSecretName = "ke1-pull";

/** Container names that a build's pod has, or may have, of its own. */
const reservedNames = ["build", "exporter", "source"];

/** @throws UserError, one line, that names the place, for the first thing that cannot be. */
export function readEnvironments(config: ConfigSource): Environments {
    const text = config.get("environments") || "{}";
    let parsed: unknown;
    try {
        parsed = JSON.parse(text);
    } catch {
        parsed = undefined;
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
        throw new UserError("environments must be an object of environments by name (docs/environments.md)");
    }
    const environments: Record<string, Environment> = {};
    for (const [name, value] of Object.entries(parsed)) {
        if (!dnsLabel.test(name)) {
            throw new UserError(
                `environments.${name}: the name must be a DNS label (a-z, 0-9 and -, at most 63): it names a container`,
            );
        }
        environments[name] = checkedEnvironment(`environments.${name}`, value);
    }
    // Also what nothing refers to: a mistake is found where it is made.
    Object.keys(environments).forEach((name) => resolveEnvironment(environments, name, `environments.${name}`));
    return environments;
}

/**
 * An environment with all that it extends: see docs/environments.md for what becomes of each key.
 *
 * @param where names the place of the reference in messages, such as `sidecars`
 * @throws UserError where there is no such environment, or one extends itself.
 */
export function resolveEnvironment(
    environments: Environments,
    name: string,
    where = "environment",
): ResolvedEnvironment {
    const merged = chainOf(environments, name, where).reduceRight(merge, {});
    checkWhole(`environments.${name}`, merged);
    return {
        name,
        image: merged.image ?? "",
        command: [...(merged.command ?? []), ...(merged.args ?? [])],
        workingDirectory: merged.workingDirectory ?? "",
        env: withoutRemoved(merged.env),
        resources: merged.resources ?? {},
        volumes: withoutRemoved(merged.volumes),
        security: merged.security ?? {},
        required: merged.required ?? false,
        onBuildEnd: merged.onBuildEnd ?? "file",
    };
}

/** The environment, the one that it extends, and so on. */
function chainOf(environments: Environments, name: string, where: string): readonly Environment[] {
    const names: string[] = [];
    const chain: Environment[] = [];
    let place = where;
    for (let next: string | undefined = name; next !== undefined;) {
        const found: Environment | undefined = Object.hasOwn(environments, next) ? environments[next] : undefined;
        if (!found) {
            const known = Object.keys(environments);
            const those = known.length > 0 ? `there are ${known.join(", ")}` : "there are none";
            throw new UserError(`${place} names the environment \`${next}\`, which is not in environments (${those})`);
        }
        if (names.includes(next)) {
            throw new UserError(`environments.${next}.extends goes round: ${[...names, next].join(" extends ")}`);
        }
        names.push(next);
        chain.push(found);
        place = `environments.${next}.extends`;
        next = found.extends;
    }
    return chain;
}

/** What is one thing is replaced as a whole; what is named is merged by name. */
function merge(base: Environment, own: Environment): Environment {
    return {
        ...base,
        ...own,
        // A command that is new has new arguments.
        args: own.args ?? (own.command ? undefined : base.args),
        env: { ...base.env, ...own.env },
        resources: { ...base.resources, ...own.resources },
        volumes: { ...base.volumes, ...own.volumes },
        security: { ...base.security, ...own.security },
    };
}

function withoutRemoved<T>(named: Readonly<Record<string, T | null>> = {}): Readonly<Record<string, T>> {
    return Object.fromEntries(Object.entries(named).filter((entry): entry is [string, T] => entry[1] !== null));
}

/**
 * The environments that a stack's builds, or a step, refer to as init containers and sidecars.
 *
 * @param build the environment that the build itself runs in, if it is one of these
 * @throws UserError where a name is unknown, reserved or there twice, or an environment cannot be what it is to be.
 */
export function resolveCompanions(
    environments: Environments,
    names: { readonly initContainers: readonly string[]; readonly sidecars: readonly string[] },
    sidecarLimitSeconds: number,
    build?: ResolvedEnvironment,
): CompanionSettings {
    const seen = new Map<string, string>(
        reservedNames.map((name) => [name, "a container that every build's pod may have of its own"]),
    );
    const resolved = (key: "initContainers" | "sidecars") =>
        names[key].map((name) => {
            const before = seen.get(name);
            if (before !== undefined) {
                throw new UserError(`${key} names \`${name}\`, which is the name of ${before}`);
            }
            seen.set(name, `another container in ${key}`);
            const environment = resolveEnvironment(environments, name, key);
            if (environment.command.length === 0) {
                throw new UserError(`environments.${name}.command is not set; ${key} cannot run it without one`);
            }
            const secret = Object.values(environment.volumes).some((volume) => volume.secret !== undefined);
            if (secret && environment.image === "") {
                throw new UserError(
                    `environments.${name}.image is not set, so that it would run in the build's image, and it has a ` +
                        "Secret: the code being built would see that; give it an image of its own",
                );
            }
            return environment;
        });
    const settings = {
        initContainers: resolved("initContainers"),
        sidecars: resolved("sidecars"),
        sidecarLimitSeconds,
    };
    checkVolumes([...(build ? [build] : []), ...settings.initContainers, ...settings.sidecars]);
    return settings;
}

/** @throws UserError where the environment cannot be a build's own. */
export function checkBuildEnvironment(environment: ResolvedEnvironment): ResolvedEnvironment {
    for (const [name, volume] of Object.entries(environment.volumes)) {
        if (volume.secret !== undefined) {
            throw new UserError(
                `environments.${environment.name}.volumes.${name} is a Secret: what is built could read it and print it; ` +
                    "give it to an init container or a sidecar",
            );
        }
    }
    return environment;
}

/** A volume that two containers name is one volume: it is what they share. */
function checkVolumes(environments: readonly ResolvedEnvironment[]): void {
    const seen = new Map<string, { readonly what: string; readonly by: string }>();
    for (const environment of environments) {
        for (const [name, volume] of Object.entries(environment.volumes)) {
            // Where it is mounted, and how, is each one's own.
            const { configMap, secret, sizeLimit } = volume;
            const what = JSON.stringify({ configMap, secret, sizeLimit });
            const before = seen.get(name);
            if (before && before.what !== what) {
                throw new UserError(
                    `environments.${environment.name}.volumes.${name} is not what environments.${before.by}.volumes.${name} ` +
                        "is; one name in a pod is one volume",
                );
            }
            seen.set(name, before ?? { what, by: environment.name });
        }
    }
}
