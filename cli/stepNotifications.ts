import type { SourceIdentity } from "../contract/manifest";
import { outcomes } from "../contract/outcome";
import type { PlannedStep, StepResult } from "../contract/pipeline";
import type { NotifiedBuild } from "../launcher/notify/build";
import type { Notifier } from "../launcher/notify/notifier";

/** What all steps of a pipeline have in common for those who are told of them. */
export interface NotifiedPipeline {
    readonly buildTag: string;
    readonly namespace: string;
    readonly stack?: string;
    readonly source: SourceIdentity;
}

/** Tells of each step as of the build that it is. */
export class StepNotifications {
    private readonly steps = new Map<string, { readonly notifier: Notifier; readonly build: NotifiedBuild }>();

    public constructor(
        private readonly pipeline: NotifiedPipeline,
        private readonly notifierOf: () => Notifier,
    ) {}

    public started(step: PlannedStep): void {
        const { name, command, jobs } = step;
        const build = { ...this.pipeline, step: name, command, job: jobs[0] ?? "", startedAt: new Date() };
        const notifier = this.notifierOf();
        this.steps.set(name, { notifier, build });
        notifier.started(build);
    }

    public ended({ name, outcome, message, exitCode, attempt, artifacts, logUrl, manifestUrl }: StepResult): void {
        const step = this.steps.get(name);
        // Of what is no outcome of a build nobody is told.
        const known = outcomes.find((each) => each === outcome);
        if (step && known) {
            const ending = { outcome: known, message, exitCode, attempt, artifacts, logUrl, manifestUrl };
            step.notifier.ended(step.build, { ...ending, endedAt: new Date() });
        }
    }

    /** Whoever cannot be told does not hold up the pipeline's end for longer than `milliseconds`. */
    public async close(milliseconds?: number): Promise<void> {
        await Promise.all([...this.steps.values()].map(async ({ notifier }) => notifier.close(milliseconds)));
    }
}
