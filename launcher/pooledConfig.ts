import { KubeConfig } from "@kubernetes/client-node";

/** What the official client makes anew for each request, and with it a connection and its TLS handshake. */
interface Connecting {
    createDispatcher: (this: KubeConfig, ...args: Parameters<KubeConfig["createDispatcherOptions"]>) => unknown;
}

/** A kubeconfig whose requests share their connections, for as long as they go to one cluster as one user. */
export function pooledConfig(): KubeConfig {
    const config = new KubeConfig();
    const connecting = config as unknown as Connecting;
    const make = connecting.createDispatcher.bind(config);
    let pool: { readonly key: string; readonly dispatcher: unknown } | undefined;
    connecting.createDispatcher = (...args) => {
        // A certificate that was renewed is in the options.
        const key = JSON.stringify([args[0]?.server, config.createDispatcherOptions(...args)]);
        if (pool?.key !== key) {
            pool = { key, dispatcher: make(...args) };
        }
        return pool.dispatcher;
    };
    return config;
}
