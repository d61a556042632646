import { resolveSource } from "../source/resolve";
import { required } from "./context";

/** Prints what a source is called, as JSON: SOURCE is its directory, BUILD_TAG a commit or tag of it, or empty. */
export function printSource(projectDirectory: string): void {
    const { buildTag, commit } = resolveSource({
        source: required("SOURCE"),
        buildTag: process.env["BUILD_TAG"] ?? "",
        projectDirectory,
    });
    process.stdout.write(JSON.stringify({ buildTag, commit }));
}
