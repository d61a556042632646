/** What a service is told; `ke1 serve`, `ke1 watch` and `ke1 spawn` read it from their options and the environment. */
export interface ServiceSettings {
    /** The queue, the sources and the stacks' state; made with mode 0700. */
    readonly dataDirectory: string;
    /** Where Pulumi.yaml is. */
    readonly projectDirectory: string;
    /** The stack whose configuration builds begin with. */
    readonly baseStack: string;
    /** Builds at once. */
    readonly parallel: number;
    /** Of one build, from its start on. */
    readonly timeoutSeconds: number;
    /** Where builds run, one at a time in each; empty gives every stack a namespace of its own, which it makes. */
    readonly namespaces: readonly string[];
    /** Images are built without the builder's cache. */
    readonly noCache: boolean;
    /** Given to every image's build. */
    readonly extraBuildArgs: Readonly<Record<string, string>>;
    /** Hosts and CIDR blocks on private networks that sources may come from all the same. */
    readonly allowSources: readonly string[];
    /** Whether a source may be a directory of this machine. */
    readonly localSources: boolean;
    /** Days after its end after which a build and its source are forgotten; artifacts and logs stay in the store. */
    readonly keepDays?: number;
    /** What a build's launcher prints is shown by the service too. */
    readonly showLogs: boolean;
    /** The `ke1` command, as a program and its first arguments. */
    readonly ke1: readonly [string, ...string[]];
}

/** The build shuttle's figures: 4 builds at once, 20 minutes each. */
export const serviceDefaults = { parallel: 4, timeoutSeconds: 20 * 60, port: 9000 } as const;
