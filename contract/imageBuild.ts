/** What `ke1 image-build` is told by the stack's program, as JSON in KE1_IMAGE_BUILD. No credential. */
export interface ImageBuild {
    /** As the cluster's nodes pull it: `<registry>/<repository>:<tag>`. */
    readonly imageName: string;
    /** The same image as the pod that builds it reaches the registry; where they are one, the same name. */
    readonly pushName: string;
    /** The directory with the context, relative to the project. */
    readonly context: string;
    /** The Dockerfile, relative to the context. */
    readonly dockerfile: string;
    readonly buildArgs: Readonly<Record<string, string>>;
    /** The pod that builds. */
    readonly pod: ImagePod;
}

/** How the pod that builds an image is run. */
export interface ImagePod {
    readonly namespace: string;
    /** BuildKit, rootless, by digest. */
    readonly builderImage: string;
    /** Whether the registry that it pushes to has no TLS. */
    readonly insecure: boolean;
    /** The tag of the layer cache, in the repository `<repository>-cache`; empty for none. */
    readonly cache: string;
    /** Whether the files of layers get a fixed time, so that the same content is the same layer. */
    readonly reproducible: boolean;
    /** A profile on the node, `unconfined`, or empty for what the node gives a pod that asks for none. */
    readonly seccomp: string;
    readonly appArmor: string;
    readonly cpuRequest: string;
    readonly memoryLimit: string;
    readonly diskLimit: string;
    readonly deadlineSeconds: number;
    /** Whether names are looked up in the cluster's DNS; otherwise the node's resolver does. */
    readonly clusterDns: boolean;
}

/** The labels of all pods that build images, by which policies know them. */
export const imagePods = { "app.kubernetes.io/component": "image-build" } as const;

/** The containers of such a pod: the one that builds, without a credential, and the one that asks it to. */
export const builderContainer = "buildkitd";
export const clientContainer = "client";

/** What rootless BuildKit needs to give its user namespace more than one user: newuidmap's and newgidmap's own. */
export const builderCapabilities = ["SETUID", "SETGID"] as const;
