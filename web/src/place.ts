/**
 * Where the server is: beside this page, below whatever path that has, or where the server says
 * that it is.
 */
const PAGE = new URL(".", document.baseURI);

/** The address of something of the server's, such as `v1/agents`. */
export const address = (path: string): string => new URL(path, PAGE).href;

/** The path that the server is served below, with slashes at both ends. */
export const basePath = PAGE.pathname;
