/** The element of this id, which the server has put into the page. */
export function byId<T extends HTMLElement>(id: string, kind: abstract new (...args: never[]) => T): T | undefined {
    const found = document.getElementById(id);
    return found instanceof kind ? found : undefined;
}

/** Lets the page do something else: what takes long is done in slices. */
export async function pause(): Promise<void> {
    return new Promise((resolve) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => {
            port1.close();
            resolve();
        };
        port2.postMessage(undefined);
    });
}

/** Milliseconds of work between two pauses: half a frame. */
export const sliceMilliseconds = 8;

/** Says something to screen readers, when they have said what they are at. */
export function announce(text: string): void {
    const region = byId("announcement", HTMLElement);
    if (region && text !== "") {
        region.textContent = text;
    }
}

export function isTyping(target: EventTarget | null): boolean {
    return (
        target instanceof HTMLTextAreaElement ||
        target instanceof HTMLSelectElement ||
        (target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit"].includes(target.type))
    );
}
