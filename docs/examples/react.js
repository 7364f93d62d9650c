// Everybody's uploads, and a way to add to them.  React is no module yet, so it has to be bundled:
//
//   npm install react react-dom esbuild
//   npx esbuild react.js --bundle --format=esm --external:uploadd --outfile=react.bundle.js

import { createElement, useMemo, useSyncExternalStore } from "react";
import { createRoot } from "react-dom/client";
import { Uploader, watch } from "uploadd";

const NONE = [];

/** Where the uploads of `what` are: an id, "mine" or "all". Watched as long as the component is shown. */
export function useUploads(what, server) {
  const store = useMemo(() => {
    let watching = null;
    return {
      get: () => watching?.uploads ?? NONE,
      subscribe(changed) {
        watching = watch(what, { server, onChange: changed });
        return () => watching.close();
      },
    };
  }, [what, server]);
  return useSyncExternalStore(store.subscribe, store.get);
}

function Bar({ upload: { name, state, fraction, url } }) {
  return createElement("li", null,
    createElement("progress", { value: fraction ?? undefined, "aria-label": name }),
    url ? createElement("a", { href: url }, name) : name, `: ${state}`);
}

function App({ uploader }) {
  const uploads = useUploads("all");
  const send = ({ target }) => { for (const file of target.files) uploader.upload(file); };
  return createElement("main", null,
    createElement("input", { type: "file", multiple: true, onChange: send }),
    createElement("ul", null, uploads.map((upload) => createElement(Bar, { key: upload.id, upload }))));
}

createRoot(document.querySelector("#root")).render(createElement(App, { uploader: new Uploader() }));
