import type { ImageReference } from "../registry/reference";
import type { Policy } from "./policy";

/** A trigger, checked. */
export interface Trigger {
    readonly name: string;
    /** The repository that is watched. */
    readonly image: ImageReference;
    readonly policy: Policy;
    /** As it is written in the file. */
    readonly policyText: string;
    /** The tag that is watched or, of a policy with versions, the one that is the first to compare with; may be empty. */
    readonly tag: string;
    /** Seconds between two looks; 0 is none, and notifications alone are heeded. */
    readonly intervalSeconds: number;
    /** Whether what is there at the first look is built too. */
    readonly runsFirst: boolean;
    /** The configuration's key that the image is given as, by digest. */
    readonly as: "image" | "baseImage";
    /** What is built; undefined where the image has its source in it. */
    readonly source: string | undefined;
    readonly ref: string | undefined;
    /** The keys of Pulumi.yaml, `pipeline` and `command` among them. */
    readonly config: Readonly<Record<string, unknown>>;
    readonly labels: Readonly<Record<string, string>>;
    readonly timeoutSeconds: number | undefined;
    readonly release: TriggerRelease | undefined;
}

/** What becomes of a build that succeeded; `${TAG}`, `${DIGEST}` and `${TRIGGER}` have been left for the run. */
export interface TriggerRelease {
    readonly repository: string;
    readonly tag: string | undefined;
    readonly images: readonly string[];
    readonly step: string | undefined;
}

/** A file of triggers, checked. */
export interface TriggerFile {
    /** A Docker configuration; empty for the user's own. */
    readonly credentials: string;
    /** A file whose content signs GitHub's notifications; empty for none. */
    readonly webhookSecretFile: string;
    readonly triggers: readonly Trigger[];
}
