// Follows plain clicks on links between pages within the running session, as its menu and the browser's history do.
// Anything else (a new tab, a copied address) is left to the browser.
//
// A page completes its own address with what is chosen on it. That is no step to go back to: Streamlit's pushes within a
// page take the place of the address before. The bare address that it pushes when a page is left is none either: who goes
// back is to find what was chosen there.
const push = (window.kwPush ??= history.pushState.bind(history));

history.pushState = (state, title, url) => {
  const next = new URL(url ?? "", location.href);
  if (next.pathname !== location.pathname) push(state, title, url);
  else if (next.search || !location.search) history.replaceState(state, title, url);
};

export default function () {
  document.removeEventListener("click", window.kwFollow);
  window.kwFollow = follow;
  document.addEventListener("click", follow);
}

function follow(event) {
  const path = event.composedPath();
  if (path.some((node) => node.matches?.('[data-testid="stSidebarNavLink"]'))) closeMenu();
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = path.find((node) => node.matches?.("a[data-kw-page]"));
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
