/** Addresses on the server. The page may be served below any path. */
const PAGE = new URL(".", document.baseURI);

/** Returns the address of a path on the server, such as `v1/agents`. */
export const address = (path: string): string => new URL(path, PAGE).href;

/** Path below which the server is served, with slashes at both ends. */
export const basePath = PAGE.pathname;
