import { Notifier } from "../../launcher/notify/notifier";
import { notifierSettings } from "../../launcher/notify/settings";

/**
 * A process that tells of a build and ends, as `ke1 await` does. Prints, in seconds, how long `close` held it up, and how
 * long what was left of it did.
 */
async function main(): Promise<void> {
    const build = {
        buildTag: "0b6f5a1",
        namespace: "ke-1-build-dev",
        job: "ke-1-build-0b6f5a1",
        source: { tree: "1".repeat(40) },
        command: ["make", "build"],
        startedAt: new Date(),
    };
    const notifier = new Notifier(notifierSettings());
    notifier.started(build);
    const begun = performance.now();
    notifier.ended(build, { outcome: "BuildFailed", endedAt: new Date(), message: "no good" });
    await notifier.close();
    const closed = performance.now();
    // What is still open keeps the process, and this from being printed.
    process.on("exit", () => {
        const ending = performance.now() - closed;
        process.stdout.write(JSON.stringify({ closed: (closed - begun) / 1000, ending: ending / 1000 }));
    });
}

void main();
