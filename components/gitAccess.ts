import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

/** What a container that asks remote repositories needs. */
export interface GitAccessArgs {
    /** By digest; with git, and ssh where a remote needs it. */
    readonly image: pulumi.Input<string>;
    /** The ConfigMap with the programs of `mirror/`, the list of mirrors, and a `passwd`. */
    readonly programs: pulumi.Input<string>;
    /** The Secret with the credential for private remotes; empty for none. */
    readonly secret: string;
    /** Where alone the Secret's password is sent to; empty for nowhere. */
    readonly secretOrigin: string;
}

const directory = "/ke1/bin";
const secretDirectory = "/ke1/git";
const programs = "mirror-programs";

export function programsVolume(args: Pick<GitAccessArgs, "programs">): k8s.types.input.core.v1.Volume {
    return { name: programs, configMap: { name: args.programs, defaultMode: 0o444 } };
}

/** The programs and the credential, as volumes, mounts and environment of a container. */
export function gitAccess({ secret, secretOrigin }: GitAccessArgs): {
    readonly directory: string;
    readonly environment: readonly k8s.types.input.core.v1.EnvVar[];
    readonly volumeMounts: readonly k8s.types.input.core.v1.VolumeMount[];
    readonly volumes: readonly k8s.types.input.core.v1.Volume[];
} {
    const hasSecret = secret !== "";
    return {
        directory,
        environment: hasSecret
            ? [
                  { name: "KE1_GIT_SECRET", value: secretDirectory },
                  { name: "KE1_GIT_ORIGIN", value: secretOrigin },
              ]
            : [],
        volumeMounts: [
            { name: programs, mountPath: directory, readOnly: true },
            // ssh does not work for a user whom nobody knows the name of.
            { name: programs, mountPath: "/etc/passwd", subPath: "passwd", readOnly: true },
            ...(hasSecret ? [{ name: "git-secret", mountPath: secretDirectory, readOnly: true }] : []),
        ],
        // Optional: without it, a pod would wait for it without a word; with it, git says what is missing.
        volumes: hasSecret
            ? [{ name: "git-secret", secret: { secretName: secret, defaultMode: 0o440, optional: true } }]
            : [],
    };
}
