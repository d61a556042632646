import type { DiffResult } from "./providers/provider";
import { isDefaultProvider, type ResourceState } from "./state";

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

/** What has become of a resource that was only looked at. */
export type Finding = "same" | "update" | "delete";

/** As what steps count, in the summary and in the history. */
export type Change = "same" | "create" | "update" | "replace" | "delete" | "read" | "discard";

/**
 * As what a step that is done counts; undefined where it does not. The rule is that of the CLI (`isInternalStep` and
 * `shouldRecordReadStep` in pkg/engine/update.go): a replacement is one change, whatever steps it takes, what was merely
 * read is one where it has changed, and default providers are none of the user's.
 */
export function changeOf({ op, urn, pendingDelete }: Step, found: Finding = "same"): Change | undefined {
    if (isDefaultProvider(urn)) {
        return undefined;
    }
    switch (op) {
        case "create-replacement":
            return "replace";
        case "delete-replaced":
        case "remove-pending-replace":
            return undefined;
        case "refresh":
            return found;
        case "read":
            return pendingDelete ? "replace" : found === "update" ? "read" : undefined;
        default:
            return op;
    }
}

/** What to show to the user, and to count. */
export type EngineEvent =
    | {
          readonly kind: "step";
          readonly phase: "start" | "done" | "failed";
          readonly step: Step;
          readonly seconds: number;
          /** Of a refresh or a reading that is done. */
          readonly found?: Finding;
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
