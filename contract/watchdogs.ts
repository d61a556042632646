/** Each way in which a build's pod can get nowhere, and how long it may last, in seconds, before the launcher gives it up. */
export interface Watchdogs {
    /** The Job has no pod. */
    readonly podLimitSeconds: number;
    /** The pod fits no node. */
    readonly scheduleLimitSeconds: number;
    /** An image cannot be pulled, or a container cannot be made as it is declared. */
    readonly pullLimitSeconds: number;
    /** The pod is on a node, and its containers are not there. */
    readonly createLimitSeconds: number;
    /** The pod is to end, and does not. */
    readonly terminateLimitSeconds: number;
}
