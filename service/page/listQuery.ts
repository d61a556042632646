import type { BuildState } from "../build";
import { buildStates } from "../build";

/** What the list's address says. */
export interface ListQuery {
    readonly text: string;
    /** `key=value`. */
    readonly labels: readonly string[];
    readonly state?: BuildState;
    /** Builds made before this one. */
    readonly before?: string;
}

/** Reads an address; what makes no sense is told, and left out. */
export function readListQuery(parameters: URLSearchParams): { readonly query: ListQuery; readonly problem?: string } {
    const state = parameters.get("state") ?? "";
    const before = parameters.get("before") ?? "";
    const words = (parameters.get("label") ?? "").slice(0, 1000).split(/\s+/).filter(Boolean);
    const labels = words.filter((word) => word.indexOf("=") > 0);
    const wrong = words.find((word) => word.indexOf("=") <= 0);
    const known = buildStates.find((name) => name === state);
    const problem =
        wrong !== undefined
            ? `A label is a key and a value, such as app=web, and not ${wrong}: it is left out.`
            : state !== "" && known === undefined
              ? `There is no state ${state.slice(0, 40)}: builds of all states are shown.`
              : undefined;
    return {
        query: {
            text: (parameters.get("text") ?? "").trim().slice(0, 200),
            labels,
            ...(known && { state: known }),
            ...(before !== "" && { before: before.slice(0, 100) }),
        },
        ...(problem !== undefined && { problem }),
    };
}

/** The address that says this. */
export function addressOf({ text, labels, state, before }: ListQuery): string {
    const parameters = new URLSearchParams();
    const given = { text, label: labels.join(" "), state: state ?? "", before: before ?? "" };
    for (const [name, value] of Object.entries(given)) {
        if (value !== "") {
            parameters.set(name, value);
        }
    }
    return parameters.size === 0 ? "/builds" : `/builds?${parameters.toString()}`;
}

/** Labels as the store's filter has them; of one key, the last. */
export function labelsOf({ labels }: ListQuery): Readonly<Record<string, string>> {
    return Object.fromEntries(
        labels.map((label) => [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)]),
    );
}
