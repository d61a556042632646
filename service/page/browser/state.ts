/** Milliseconds: many events come together, and a service that went away is asked again after a while. */
const [gathering, reopening] = [250, 10_000];

/**
 * Calls back when something has happened to the build of this page. It listens only while the page is seen: a browser has
 * six connections to a service, and a page in the background must not keep one.
 */
export function watchState(onChange: () => void): void {
    const head = () => document.querySelector<HTMLElement>("[data-refresh=head]")?.dataset ?? {};
    const isOver = () => !["queued", "running"].includes(head()["state"] ?? "");
    let source: EventSource | undefined;
    let timer = 0;
    const changed = () => {
        clearTimeout(timer);
        timer = window.setTimeout(onChange, gathering);
    };
    const close = () => {
        source?.close();
        source = undefined;
    };
    const open = () => {
        close();
        if (document.hidden || isOver()) {
            return;
        }
        const own = new EventSource(`/v1/builds/${encodeURIComponent(head()["build"] ?? "")}/events?log=false`);
        source = own;
        own.addEventListener("build", ({ lastEventId }) => {
            // What happened before the page was made is told first.
            if (Number.parseInt(lastEventId, 10) > Number(head()["seq"] ?? 0)) {
                changed();
            }
        });
        own.addEventListener("end", () => {
            close();
            changed();
        });
        own.addEventListener("error", () => {
            if (own.readyState === EventSource.CLOSED && source === own) {
                close();
                window.setTimeout(open, reopening);
            }
        });
    };
    document.addEventListener("visibilitychange", () => {
        if (document.hidden) {
            close();
        } else {
            changed();
            open();
        }
    });
    open();
}
