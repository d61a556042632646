import { azureType, policy, shown } from "./rule";

interface RoleDefinition {
    readonly permissions?: readonly {
        readonly actions?: readonly string[];
        readonly dataActions?: readonly string[];
    }[];
    readonly assignableScopes?: readonly string[];
}

/** Azure compares actions without regard to case. */
const blobs = "microsoft.storage/storageaccounts/blobservices/containers/blobs";
const blobActions: readonly string[] = [`${blobs}/read`, `${blobs}/write`, `${blobs}/add/action`];

/** A role with data actions can be offered no narrower than in a resource group. */
const inResourceGroup = /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+(\/.*)?$/i;
const container =
    /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.Storage\/storageAccounts\/[^/]+\/blobServices\/default\/containers\/[^/]+$/i;

/** Roles of Azure's own that change access, keys, or what is stored already (https://learn.microsoft.com/azure/role-based-access-control/built-in-roles). */
const wideRoles: Readonly<Record<string, string>> = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
    "17d1049b-9a84-46fb-8f53-869881c3d3ab": "Storage Account Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
};

export const roleDefinition = policy<RoleDefinition>({
    name: "role-definition",
    description: "A role of the stack reads, writes and appends blobs; it can delete nothing and manage nothing.",
    types: azureType("authorization", "RoleDefinition"),
    examine: ({ permissions, assignableScopes }, check) => {
        for (const { actions, dataActions } of permissions ?? []) {
            for (const action of actions ?? []) {
                check(
                    () => `remove the action ${shown(action)}: a build manages nothing; data actions are all it needs`,
                );
            }
            for (const action of dataActions ?? []) {
                check(() =>
                    blobActions.includes(action.toLowerCase())
                        ? undefined
                        : `remove the data action ${shown(action)}: a build needs blobs/read, blobs/write and blobs/add/action only`,
                );
            }
        }
        check(() => (assignableScopes?.length ? undefined : "set assignableScopes to the store's resource group"));
        for (const scope of assignableScopes ?? []) {
            check(() =>
                inResourceGroup.test(scope)
                    ? undefined
                    : `narrow the assignable scope ${shown(scope)} to a resource group: the role could be given on stores of others`,
            );
        }
    },
});

export const roleAssignment = policy<{ readonly scope?: string; readonly roleDefinitionId?: string }>({
    name: "role-assignment",
    description: "A right is given on one blob container, never on an account or what is around it.",
    types: azureType("authorization", "RoleAssignment"),
    examine: (assignment, check) => {
        check(() =>
            container.test(assignment.scope ?? "")
                ? undefined
                : `narrow the scope ${shown(assignment.scope)} to one container (…/blobServices/default/containers/<name>): the right would reach what is not the builds'`,
        );
        check(() => {
            const wide = wideRoles[assignment.roleDefinitionId?.split("/").at(-1)?.toLowerCase() ?? ""];
            return wide === undefined
                ? undefined
                : `give a role of the stack's own, or Storage Blob Data Reader: ${wide} can delete artifacts or give rights on`;
        });
    },
});

interface Federation {
    readonly subject?: string;
    readonly issuer?: string;
    readonly audiences?: readonly string[];
}

/** https://learn.microsoft.com/graph/api/resources/federatedidentitycredentials-overview */
const audience = "api://AzureADTokenExchange";

export const federation = policy<Federation>({
    name: "federated-credential",
    description: "An identity is lent to one service account of one namespace of one cluster.",
    types: azureType("managedidentity", "FederatedIdentityCredential"),
    examine: (credential, check) => {
        check(() =>
            /^system:serviceaccount:[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(
                credential.subject ?? "",
            )
                ? undefined
                : `set subject to system:serviceaccount:<namespace>:<name> (it is ${shown(credential.subject)}): others could take the identity`,
        );
        check(() =>
            /^https:\/\/[^\s*?#]+$/.test(credential.issuer ?? "")
                ? undefined
                : `set issuer to the cluster's https address (it is ${shown(credential.issuer)}): its keys must not come from anybody else`,
        );
        check(() =>
            credential.audiences?.length === 1 && credential.audiences[0] === audience
                ? undefined
                : `set audiences to [${audience}] (they are ${shown(credential.audiences)}): a token that was made for others would be taken`,
        );
    },
});
