import type { EngineEvent, Step } from "../engine/steps";
import type { RecordedSpan, TraceParent, Tracing } from "../launcher/tracing";
import { traceParentOf, traceParentVariable } from "../launcher/tracing";

/** What a step of the engine is for. */
const parts = ["image", "create", "await", "delete"] as const;
type Part = (typeof parts)[number];

/** From the first step of a part to its last. */
interface Extent {
    readonly start: Date;
    readonly end: Date;
    readonly steps: number;
    readonly error?: string;
}

/**
 * The spans of one operation of the engine: the operation itself, and in it the making of images, the awaiting of the
 * build, the making of all else, and the deleting.
 */
export class OperationSpans {
    private readonly begun = new Date();
    private readonly name: string;
    private readonly parent: TraceParent | undefined;
    private readonly root: TraceParent;
    private readonly awaiting: TraceParent;
    private readonly starts = new Map<string, Date>();
    private readonly extents = new Map<Part, Extent>();

    public constructor(
        private readonly tracing: Tracing,
        kind: string,
        private readonly stack: string,
        environment: NodeJS.ProcessEnv,
    ) {
        this.name = `ke1 ${kind}`;
        this.parent = traceParentOf(environment[traceParentVariable]);
        this.root = tracing.place({ name: this.name, parent: this.parent });
        this.awaiting = tracing.place({ name: "await", parent: this.root });
    }

    /** For the commands of the stack: the one that awaits the build puts its own spans there. */
    public get variables(): NodeJS.ProcessEnv {
        return { [traceParentVariable]: this.awaiting };
    }

    public handle(event: EngineEvent): void {
        if (event.kind !== "step" || event.step.op === "same") {
            return;
        }
        const { urn } = event.step;
        if (event.phase === "start") {
            this.starts.set(urn, new Date());
            return;
        }
        const part = partOf(event.step);
        const before = this.extents.get(part);
        const failed = event.phase === "failed" ? `${urn.split("::").pop() ?? urn} failed` : undefined;
        this.extents.set(part, {
            start: before?.start ?? this.starts.get(urn) ?? new Date(),
            end: new Date(),
            steps: (before?.steps ?? 0) + 1,
            error: before?.error ?? failed,
        });
    }

    /** Records them all, and sends them. */
    public async finish(outcome: "succeeded" | "failed" | "interrupted"): Promise<void> {
        for (const part of parts) {
            const extent = this.extents.get(part);
            if (extent) {
                const { steps, ...times } = extent;
                const attributes = { "ke1.steps": steps };
                const place = part === "await" ? this.awaiting : undefined;
                this.tracing.record({ ...at(place), name: part, parent: this.root, attributes, ...times });
            }
        }
        this.tracing.record({
            ...at(this.root),
            name: this.name,
            start: this.begun,
            end: new Date(),
            parent: this.parent,
            attributes: { "ke1.stack": this.stack, "ke1.operation.outcome": outcome },
            error: outcome === "succeeded" ? undefined : outcome,
        });
        await this.tracing.close();
    }
}

/** By the resources' names, which the components give (components/buildImage.ts, components/awaitCommand.ts). */
function partOf({ urn, op }: Step): Part {
    if (op.startsWith("delete")) {
        return "delete";
    }
    return urn.endsWith("-image") ? "image" : urn.endsWith("-await") ? "await" : "create";
}

/** The ids of a place that was handed on already. */
function at(place: TraceParent | undefined): Pick<RecordedSpan, "id" | "traceId"> {
    const [, traceId, id] = place?.split("-") ?? [];
    return { id, traceId };
}
