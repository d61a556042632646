import { announce } from "./element";

/**
 * Brings what the server draws up to date: the page is fetched anew, and its parts that have changed take the place of
 * those that are here. The focus stays where it is; a changed state is announced.
 */
export async function refresh(): Promise<void> {
    const response = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    if (new URL(response.url).pathname === "/login") {
        location.assign(response.url);
        return;
    }
    if (!response.ok) {
        return;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const before = states(document);
    for (const part of document.querySelectorAll<HTMLElement>("[data-refresh]")) {
        const name = part.dataset["refresh"] ?? "";
        const other = fresh.querySelector(`[data-refresh="${CSS.escape(name)}"]`);
        if (other && other.outerHTML !== part.outerHTML) {
            replace(part, document.importNode(other, true));
        }
    }
    if (document.title !== fresh.title) {
        document.title = fresh.title;
    }
    announce(changesFrom(before).join(", "));
}

function replace(part: HTMLElement, other: Element): void {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const scrolled = [...part.querySelectorAll(".scroll")].map(({ scrollLeft }) => scrollLeft);
    part.replaceWith(other);
    other.querySelectorAll(".scroll").forEach((element, index) => (element.scrollLeft = scrolled[index] ?? 0));
    if (focused) {
        const href = focused.getAttribute("href");
        const selector = href === null ? focused.localName : `${focused.localName}[href="${CSS.escape(href)}"]`;
        (other.querySelector<HTMLElement>(selector) ?? document.getElementById("main"))?.focus({ preventScroll: true });
    }
}

function states(root: ParentNode): ReadonlyMap<string, string> {
    const builds = root.querySelectorAll<HTMLElement>("[data-build]");
    return new Map([...builds].map(({ dataset }) => [dataset["build"] ?? "", dataset["state"] ?? ""]));
}

function changesFrom(before: ReadonlyMap<string, string>): readonly string[] {
    return [...document.querySelectorAll<HTMLElement>("[data-build]")].flatMap((element) => {
        const { build = "", state = "" } = element.dataset;
        const known = before.get(build);
        const name = element.querySelector(".build, h1")?.textContent.replace(/\s+/g, " ").trim() ?? build;
        return known === state ? [] : [known === undefined ? `new build ${name}` : `${name}: ${state}`];
    });
}
