import type { ConfigSource, Settings } from "../config";
import { needsPlatform, readSettings } from "../config";
import { UserError } from "../contract/errors";
import { configuredStacks, loadProject, loadStackFile, resolveConfig } from "../engine/project";

/** A stack's configuration, as the program will see it. */
export interface StackSettings {
    readonly projectDirectory: string;
    readonly config: ConfigSource;
    /** Whether this is the project of this repository, and not some other Pulumi program. */
    readonly isBuildProject: boolean;
    readonly needsPlatform: boolean;
    /** Reads and checks all of it. */
    readonly read: () => Settings;
}

/** @throws UserError when there is no such stack, or its configuration cannot be. */
export function stackSettings(directory: string, stack: string, configFile?: string): StackSettings {
    const project = loadProject(directory, configFile);
    const file = loadStackFile(project, stack, { toBeLookedAt: true });
    if (!file) {
        throw new UserError(
            `there is no Pulumi.${stack}.yaml in ${project.root}; the stacks are: ${configuredStacks(project).join(", ")}`,
        );
    }
    // What is secret is the engine's to decrypt; nothing of what is read here is.
    const plain = new Map([...file.values].filter(([, value]) => !isSecure(value)));
    const { values } = resolveConfig(project, stack, { ...file, values: plain }, undefined);
    const config = { get: (key: string) => values[`${project.name}:${key}`] };
    return {
        projectDirectory: project.root,
        config,
        isBuildProject: project.name === "ke-1-build",
        needsPlatform: needsPlatform(config),
        read: () => readSettings(config, { project: project.name, stack }),
    };
}

function isSecure(value: unknown): boolean {
    return typeof value === "object" && value !== null && "secure" in value;
}
