import { byId, isTyping } from "./element";

/** What a key does; `false` leaves it to the browser. */
export type KeyActions = Readonly<Record<string, () => unknown>>;

const remembered = "keys";

/**
 * Keys without a modifier. They do nothing while somebody types, or where they are turned off
 * (https://www.w3.org/TR/WCAG22/#character-key-shortcuts); `?` shows what they do.
 */
export function handleKeys(actions: KeyActions): void {
    const help = byId("help", HTMLDialogElement);
    const areOn = byId("keys-on", HTMLInputElement);
    if (areOn) {
        areOn.checked = read() !== "off";
        areOn.addEventListener("change", () => write(areOn.checked ? "on" : "off"));
    }
    byId("show-help", HTMLButtonElement)?.addEventListener("click", () => help?.showModal());
    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || help?.open) {
            return;
        }
        if (isTyping(event.target)) {
            if (event.key === "Escape") {
                // A browser would empty a field for searching.
                event.preventDefault();
                (event.target as HTMLElement).blur();
            }
            return;
        }
        if (areOn && !areOn.checked && event.key.length === 1) {
            return;
        }
        const act = event.key === "?" ? () => help?.showModal() : actions[event.key];
        if (act && act() !== false) {
            event.preventDefault();
        }
    });
}

function read(): string | undefined {
    try {
        return localStorage.getItem(remembered) ?? undefined;
    } catch {
        return undefined;
    }
}

function write(value: string): void {
    try {
        localStorage.setItem(remembered, value);
    } catch {
        // It is so for this page only.
    }
}
