import type { Markup } from "./html";
import { html } from "./html";
import type { AssetAddresses, Viewer } from "./layout";
import { documentOf } from "./layout";

/** @param next where to go then: a path of this service */
export function loginPage(assets: AssetAddresses, next: string, problem?: string): Markup {
    return documentOf({
        title: "Log in",
        assets,
        main: html`<div class="narrow">
            <h1>Log in</h1>
            ${problem !== undefined && html`<p class="problem" role="alert" id="problem">${problem}</p>`}
            <form method="post" action="/login">
                <input type="hidden" name="next" value="${next}" />
                <input type="text" name="username" value="ke1" autocomplete="username" hidden />
                <label for="token">Token</label>
                <input
                    type="password"
                    id="token"
                    name="token"
                    autocomplete="current-password"
                    required
                    maxlength="8192"
                    autofocus${problem !== undefined && html` aria-describedby="problem" aria-invalid="true"`}
                />
                <button>Log in</button>
            </form>
            <p class="note">
                Whoever runs the service makes tokens: <code>ke1 token add NAME --scope builds:read</code>
            </p>
        </div>`,
    });
}

/** What went wrong, for a person. */
export function problemPage(assets: AssetAddresses, title: string, text: string, viewer?: Viewer): Markup {
    return documentOf({
        title,
        assets,
        ...(viewer && { viewer }),
        main: html`<div class="narrow">
            <h1>${title}</h1>
            <p>${text}</p>
            <p><a href="/builds">All builds</a></p>
        </div>`,
    });
}

/** Goes on to where a link of another site led, this time as this page's own. */
export function returnPage(assets: AssetAddresses, address: string): Markup {
    return html`<!doctype html>
        <html lang="en">
            <head>
                <meta charset="utf-8" />
                <title>ke1</title>
                <meta http-equiv="refresh" content="0;url=${address}" />
                <link rel="stylesheet" href="${assets.style}" />
            </head>
            <body>
                <main class="narrow">
                    <h1>ke1</h1>
                    <p><a href="${address}">Go on</a></p>
                </main>
            </body>
        </html> `;
}
