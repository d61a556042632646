import type { TracedBuild } from "../launcher/attemptSpans";
import { recordAttempts } from "../launcher/attemptSpans";
import type { BuildStore } from "../launcher/store";
import { traceParentOf, traceParentVariable, Tracing } from "../launcher/tracing";

/** Adds what the pods of builds did to the trace that whoever launched them has begun, if there is one. Never rejects. */
export async function recordPods(
    store: BuildStore,
    builds: readonly TracedBuild[],
    environment: NodeJS.ProcessEnv = process.env,
): Promise<void> {
    const tracing = await Tracing.open(environment);
    if (!tracing) {
        return;
    }
    const parent = traceParentOf(environment[traceParentVariable]);
    try {
        await Promise.all(builds.map(async (build) => recordAttempts(tracing, store, build, parent)));
    } catch {
        // A store that cannot be read is said by what needs it.
    }
    await tracing.close();
}
