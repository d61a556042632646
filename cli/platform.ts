import { Command } from "commander";
import { UserError } from "../contract/errors";
import { ensureImageBuilder } from "../platform/imageBuilder";
import { platformDown, platformStatus, platformUp, readDescriptor, type PartStatus } from "../platform/index";
import { columns } from "./columns";

/** `ke1 platform up | status | down | env`. */
export function platformCommand(): Command {
    const command = new Command("platform").description(
        "the embedded platform: Kubernetes, registry, blob store, Docker",
    );
    command
        .command("up")
        .description("start what does not run of it; the first time it is compiled, which takes some minutes")
        .action(up);
    command
        .command("image-builder")
        .description(
            "make ready what builds images in the cluster (imageBuilder: cluster), as `ke1 up` does for a stack",
        )
        .action(async () => {
            await platformUp({ quiet: true });
            await ensureImageBuilder();
        });
    command
        .command("status")
        .description("show the state of each part")
        .option("--json", "as JSON")
        .action(async ({ json }: { readonly json?: boolean }) => {
            const parts = await platformStatus();
            process.stdout.write(json ? JSON.stringify(parts, undefined, 2) + "\n" : table(parts));
        });
    command
        .command("down")
        .description("end it; its data stay")
        .option("--purge", "remove its data too: images, blobs, and the state of stacks in its directory")
        .action(async ({ purge }: { readonly purge?: boolean }) => {
            await platformDown({ purge: purge === true });
        });
    command
        .command("env")
        .description('print variables for a shell: eval "$(ke1 platform env)"')
        .action(() => {
            const descriptor = readDescriptor();
            if (descriptor === undefined) {
                throw new UserError("there is no platform yet: run ke1 platform up");
            }
            const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
            process.stdout.write(`export KUBECONFIG=${quoted(descriptor.kubeconfig)}\n`);
            process.stdout.write(`export DOCKER_HOST=${quoted(descriptor.dockerHost)}\n`);
        });
    return command;
}

/** The first interrupt ends it in order, with exit code 130; a second one at once. */
async function up(): Promise<void> {
    const controller = new AbortController();
    const interrupt = () => controller.abort(new Error("interrupted"));
    for (const name of ["SIGINT", "SIGTERM"] as const) {
        process.once(name, interrupt);
    }
    try {
        await platformUp({ signal: controller.signal });
    } catch (error) {
        if (!controller.signal.aborted) {
            throw error;
        }
        process.stderr.write("interrupted: ke1 platform up goes on from here\n");
        process.exitCode = 130;
    } finally {
        for (const name of ["SIGINT", "SIGTERM"] as const) {
            process.removeListener(name, interrupt);
        }
    }
}

function table(parts: readonly PartStatus[]): string {
    if (parts.length === 0) {
        return "there is no platform yet: run ke1 platform up\n";
    }
    const rows = parts.map(({ name, state, pid, version, address, since }) => [
        name,
        state,
        pid === undefined ? "-" : String(pid),
        version,
        since?.slice(0, 19).replace("T", " ") ?? "-",
        address,
    ]);
    return `${columns([["NAME", "STATE", "PID", "VERSION", "SINCE (UTC)", "ADDRESS"], ...rows]).join("\n")}\n`;
}
