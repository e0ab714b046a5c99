// Follows plain clicks on links between pages within the running session, as its menu and the browser's history do.
// Anything else (a new tab, a copied address) is left to the browser.
//
// A page completes its own address with what is chosen on it. That is no step to go back to: Streamlit's pushes within a
// page take the place of the address before. What it pushes between the choice of another page and that page's own address
// belongs to neither: who goes back is to find what they left.
const push = (window.kwPush ??= history.pushState.bind(history));
let isLeaving = false;

history.pushState = (state, title, url) => {
  if (new URL(url ?? "", location.href).pathname !== location.pathname) {
    isLeaving = false;
    push(state, title, url);
  } else if (!isLeaving) history.replaceState(state, title, url);
};

export default function () {
  for (const [name, listener, capture] of [["click", leave, true], ["click", follow, false], ["popstate", stay, false]]) {
    const known = (window.kwListeners ??= {});
    removeEventListener(name, known[listener.name], capture);
    known[listener.name] = listener;
    addEventListener(name, listener, capture);
  }
}

function isPlain(event) {
  return !(event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
}

/** Notes that another page of the menu was chosen, before Streamlit does anything about it. */
function leave(event) {
  const link = event.composedPath().find((node) => node.matches?.('[data-testid="stTopNavLink"], [data-testid="stSidebarNavLink"]'));
  if (!link || !isPlain(event)) return;
  isLeaving = new URL(link.href).pathname !== location.pathname;
  if (link.dataset.testid === "stSidebarNavLink") closeMenu();
}

function stay() {
  isLeaving = false;
}

function follow(event) {
  if (event.defaultPrevented || !isPlain(event)) return;
  const link = event.composedPath().find((node) => node.matches?.("a[data-kw-page]"));
  if (!link) return;
  if (document.querySelector('[data-testid="stConnectionStatus"]')) return; // no session to follow it in
  event.preventDefault();
  push({}, "", link.href);
  dispatchEvent(new PopStateEvent("popstate"));
  document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);
}

/** Closes the menu of a phone, which covers the page, once its choice is on the way. */
function closeMenu() {
  setTimeout(() => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click());
}
