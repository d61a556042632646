import type { DiffResult } from "./providers/provider";
import type { ResourceState } from "./state";

/** What is done with one resource; the names are those of the CLI (pkg/resource/deploy/step.go). */
export type StepOp =
    | "same"
    | "create"
    | "update"
    | "delete"
    | "create-replacement"
    | "delete-replaced"
    | "read"
    | "refresh"
    | "discard"
    | "remove-pending-replace";

/** One step. Those of one registration are done one after the other. */
export interface Step {
    readonly op: StepOp;
    readonly urn: string;
    readonly type: string;
    /** The resource in the state; absent for a new one. */
    readonly old?: ResourceState;
    /** The resource as it is to be, its inputs checked; absent for a deletion. */
    readonly new?: ResourceState;
    readonly diff?: DiffResult;
    /** Of a deletion: the resource will be created again, and is kept in the state to say so. */
    readonly pendingReplacement?: boolean;
    /** Of a deletion: the resource goes with another one that is deleted, its provider is not asked. */
    readonly withoutProvider?: boolean;
    /** Of a create-replacement: the old resource is still there, and is to be deleted at the end. */
    readonly pendingDelete?: boolean;
}

/** What to show to the user, and to count. */
export type EngineEvent =
    | {
          readonly kind: "step";
          readonly phase: "start" | "done" | "failed";
          readonly step: Step;
          readonly seconds: number;
      }
    | {
          readonly kind: "log";
          readonly severity: "debug" | "info" | "warning" | "error";
          readonly urn?: string;
          readonly message: string;
          readonly ephemeral: boolean;
      };

/** The deployment does no more steps, because one failed or the user wants it to end; the reason has been shown. */
export class DeploymentStopped extends Error {
    public override readonly name = "DeploymentStopped";
}
