import { byId } from "./element";
import { handleKeys } from "./keys";
import { refresh } from "./refresh";

/** Between two looks at the list, in milliseconds. */
const interval = 4000;

/** The list of builds: it is kept up to date while it is looked at, and walked through with keys. */
export function startList(): void {
    setInterval(() => {
        if (!document.hidden) {
            refresh().catch(() => undefined);
        }
    }, interval);
    handleKeys({
        "/": () => byId("filter", HTMLInputElement)?.focus(),
        j: () => step(1),
        k: () => step(-1),
        Home: () => links().at(0)?.focus(),
        End: () => links().at(-1)?.focus(),
    });
}

function links(): readonly HTMLAnchorElement[] {
    return [...document.querySelectorAll<HTMLAnchorElement>("a.build")];
}

function step(by: number): undefined {
    const all = links();
    const at = all.findIndex((link) => link.closest("tr")?.contains(document.activeElement));
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    all[next]?.focus();
    return undefined;
}
